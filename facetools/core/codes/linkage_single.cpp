// Single linkage by Prim's minimum spanning tree (Prim 1957; MST-LINKAGE-CORE in Müllner 2011).
//
// The merges of single linkage are the edges of a minimum spanning tree in order of length. Starting from code 0, each
// step adds the code that is nearest to the tree. The edge is recorded from the code added before it, not from the
// nearest one: the codes that form one cluster at some height are added one after the other, so both codes belong to
// the same cluster at the height of the edge.
//
// Exact: integer distances, or sums of values in a fixed order. d - 1 steps compare one code with all others: time
// O(d^2 planes), memory O(d planes). It runs in one thread.
//
// Limits: byte distances are used without values and for at most 254 varying bits; otherwise doubles.
#include <cstring>
#include <limits>
#include <numeric>

#include "codes/code_blocks.hpp"
#include "codes/linkage.hpp"
#include "codes/weighted_hamming.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

constexpr std::uint8_t excluded = 255;  // greater than every distance; the weight of codes in the tree and of padding

void report(const std::vector<Merge>& merges, std::size_t codes, Progress& progress) {
  progress(static_cast<double>(merges.size()) / static_cast<double>(codes));
}

std::vector<Merge> spanning_tree_in_bytes(const Codes& codes, const std::vector<std::size_t>& bits,
                                          Progress& progress) {
  CodeBlocks blocks(codes, bits);
  for (std::size_t i = codes.size; i < blocks.positions(); ++i) blocks.set_weight(i, excluded);
  std::vector<std::uint8_t> nearest(blocks.positions(), excluded);  // distance of each code to the tree
  std::vector<Merge> merges;
  std::size_t last = 0;
  while (merges.size() + 1 < codes.size) {
    blocks.set_weight(last, excluded);
    const auto row = code_bytes(codes[last], blocks.planes());
    const std::uint8_t minimum =
        kernels().update_nearest(blocks[0], blocks.planes(), blocks.blocks(), row.data(), nearest.data());
    const void* position = std::memchr(nearest.data(), minimum, codes.size);
    const auto next = static_cast<std::size_t>(static_cast<const std::uint8_t*>(position) - nearest.data());
    merges.push_back(
        {static_cast<std::uint32_t>(last), static_cast<std::uint32_t>(next), static_cast<double>(minimum)});
    last = next;
    report(merges, codes.size, progress);
  }
  return merges;
}

std::vector<Merge> spanning_tree(const Codes& codes, const WeightedHamming& distance, Progress& progress) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<std::uint32_t> outside(codes.size - 1);  // codes that are not in the tree
  std::iota(outside.begin(), outside.end(), 1u);
  std::vector<double> nearest(codes.size, infinity);
  std::vector<Merge> merges;
  for (std::uint32_t last = 0; !outside.empty();) {
    double minimum = infinity;
    auto next = outside.begin();
    for (auto code = outside.begin(); code < outside.end(); ++code) {
      nearest[*code] = std::min(nearest[*code], distance(codes[last], codes[*code]));
      if (nearest[*code] < minimum) {
        minimum = nearest[*code];
        next = code;
      }
    }
    merges.push_back({last, *next, minimum});
    last = *next;
    outside.erase(next);
    report(merges, codes.size, progress);
  }
  return merges;
}

}  // namespace

std::vector<Merge> single_linkage(const Codes& codes, std::size_t attributes, const double* values,
                                  Progress& progress) {
  const std::vector<std::size_t> bits = varying_bits(codes);
  if (!values && bits.size() < excluded) return spanning_tree_in_bytes(codes, bits, progress);
  return spanning_tree(codes, WeightedHamming(attributes, values), progress);
}

}  // namespace facetools
