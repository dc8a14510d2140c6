// Complete linkage by nearest-neighbor chains on the full distance matrix.
//
// Murtagh: A survey of recent advances in hierarchical clustering algorithms (1983). A chain of nearest neighbors is
// followed until two clusters are nearest to each other; these are merged. Complete linkage is reducible, so that the
// result is that of always merging the closest pair.
//
// Exact: the distance of two clusters is the maximum of distances of codes; no rounding is involved beyond that of the
// distances themselves. Time O(d^2 planes) for the matrix and O(d^2) for the chain, memory d^2 distances.
//
// Limits: a distance takes one byte without values and for at most 254 varying bits; otherwise eight bytes.
#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "codes/code_blocks.hpp"
#include "codes/linkage.hpp"
#include "codes/weighted_hamming.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

constexpr std::size_t rows_per_task = 16;
constexpr std::size_t max_byte_distance = 254;  // 255 is greater than every distance

// A distance matrix in which clusters are merged. A cluster is stored in the row of its first code.
//
// Merging updates only one row. Every other row replays the merges that it has missed when it is read next, because
// writing a column would touch a cache line per element.
template <class Distance>
class NeighborChain {
 public:
  // Greater than every distance: stands for the diagonal and for merged clusters.
  static constexpr Distance excluded = std::numeric_limits<Distance>::has_infinity
                                           ? std::numeric_limits<Distance>::infinity()
                                           : std::numeric_limits<Distance>::max();

  // stride: elements per row, at least size.
  NeighborChain(std::size_t size, std::size_t stride)
      : size_(size), stride_(stride), matrix_(new Distance[size * stride]), replayed_(size), absorbed_(size) {}

  Distance* row(std::size_t i) { return matrix_.get() + i * stride_; }

  // Merges all clusters. All rows must have been filled.
  std::vector<Merge> merge_all(Progress& progress) {
    std::vector<Merge> merges;
    std::vector<std::size_t> chain;
    std::size_t first = 0;
    while (merges.size() + 1 < size_) {
      if (chain.empty()) {
        while (absorbed_[first]) ++first;
        chain.push_back(first);
      }
      const std::size_t tip = chain.back();
      const Distance* distances = current_row(tip);
      Distance minimum = excluded;
      for (std::size_t j = 0; j < size_; ++j) minimum = std::min(minimum, distances[j]);
      if (chain.size() == 1 || distances[chain[chain.size() - 2]] != minimum) {
        chain.push_back(find(distances, minimum));
        continue;
      }
      const auto [target, source] = std::minmax({tip, chain[chain.size() - 2]});
      merge(target, source);
      merges.push_back({static_cast<std::uint32_t>(target), static_cast<std::uint32_t>(source),
                        static_cast<double>(minimum)});
      chain.resize(chain.size() - 2);
      progress(static_cast<double>(merges.size()) / static_cast<double>(size_));
    }
    return merges;
  }

 private:
  std::size_t find(const Distance* distances, Distance value) const {
    if constexpr (sizeof(Distance) == 1)
      return static_cast<std::size_t>(static_cast<const Distance*>(std::memchr(distances, value, size_)) - distances);
    else
      return static_cast<std::size_t>(std::find(distances, distances + size_, value) - distances);
  }

  // Row i after all merges so far.
  Distance* current_row(std::size_t i) {
    Distance* distances = row(i);
    const auto *missed = log_.data() + replayed_[i], *end = log_.data() + log_.size();
    for (; missed < end; ++missed) {
      distances[missed->target] = std::max(distances[missed->target], distances[missed->source]);
      distances[missed->source] = excluded;
    }
    replayed_[i] = log_.size();
    return distances;
  }

  struct LoggedMerge {
    std::uint32_t target, source;
  };

  void merge(std::size_t target, std::size_t source) {
    Distance* target_row = current_row(target);
    const Distance* source_row = current_row(source);
    for (std::size_t j = 0, size = size_; j < size; ++j) target_row[j] = std::max(target_row[j], source_row[j]);
    absorbed_[source] = true;
    log_.push_back({static_cast<std::uint32_t>(target), static_cast<std::uint32_t>(source)});
    replayed_[target] = log_.size();
  }

  std::size_t size_, stride_;
  std::unique_ptr<Distance[]> matrix_;  // (size, stride)
  std::vector<std::size_t> replayed_;   // (size,) logged merges that a row includes
  std::vector<bool> absorbed_;          // (size,) whether a cluster was merged into another
  std::vector<LoggedMerge> log_;
};

std::vector<Merge> merge_byte_distances(const Codes& codes, const std::vector<std::size_t>& bits, int threads,
                                        Progress& progress) {
  const CodeBlocks blocks(codes, bits);
  NeighborChain<std::uint8_t> chain(codes.size, blocks.positions());
  progress.start_phase(0, 0.3);
  parallel_ranges(threads, codes.size, rows_per_task, progress, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto row = code_bytes(codes[i], blocks.planes());
      kernels().hamming_distances(blocks[0], blocks.planes(), blocks.blocks(), row.data(), chain.row(i));
      chain.row(i)[i] = chain.excluded;
    }
  });
  progress.start_phase(0.3, 1);
  return chain.merge_all(progress);
}

std::vector<Merge> merge_double_distances(const Codes& codes, const WeightedHamming& distance, int threads,
                                          Progress& progress) {
  NeighborChain<double> chain(codes.size, codes.size);
  progress.start_phase(0, 0.3);
  parallel_ranges(threads, codes.size, rows_per_task, progress, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t j = 0; j < codes.size; ++j)
        chain.row(i)[j] = i == j ? chain.excluded : distance(codes[i], codes[j]);
  });
  progress.start_phase(0.3, 1);
  return chain.merge_all(progress);
}

}  // namespace

std::vector<Merge> complete_linkage(const Codes& codes, std::size_t attributes, const double* values, int threads,
                                    Progress& progress) {
  const std::vector<std::size_t> bits = varying_bits(codes);
  if (!values && bits.size() <= max_byte_distance) return merge_byte_distances(codes, bits, threads, progress);
  return merge_double_distances(codes, WeightedHamming(attributes, values), threads, progress);
}

}  // namespace facetools
