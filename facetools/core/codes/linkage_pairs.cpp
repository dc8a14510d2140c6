// Single and complete linkage: from the distances of all pairs of codes.
#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>

#include "codes/blocks.hpp"
#include "codes/linkage.hpp"
#include "codes/neighbours.hpp"
#include "codes/pair_distance.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

// Distances of bytes run to 254, and 255 is beyond every distance.
constexpr std::size_t max_byte_distance = 254;

struct ByteRow {
  ByteRow(const std::uint64_t* code, int planes) {
    for (int p = 0; p < planes; ++p) bytes[static_cast<std::size_t>(p)] = code_byte(code, p);
  }
  std::array<std::uint8_t, 8 * max_words> bytes;
};

Blocks blocks_of(const Codes& codes, const std::vector<std::size_t>& bits) {
  Blocks blocks(bits.empty() ? 1 : static_cast<int>(bits.back() / 8 + 1),
                (codes.size + block_codes - 1) / block_codes);
  for (std::size_t i = 0; i < codes.size; ++i) blocks.set(i, codes[i], 0);
  return blocks;
}

double share(std::size_t done, std::size_t all) {
  return static_cast<double>(done) / static_cast<double>(all);
}

// Prim's minimum spanning tree. Each code joins the tree at its least distance to any code in it; since the codes that
// are one cluster at some height join one after the other, the code before it in that order stands for the nearest.
// 255 marks the codes in the tree.
std::vector<Merge> span_bytes(const Codes& codes, const std::vector<std::size_t>& bits, Progress& progress) {
  Blocks blocks = blocks_of(codes, bits);
  for (std::size_t place = codes.size; place < blocks.blocks() * block_codes; ++place) blocks.weigh(place, 255);
  std::vector<std::uint8_t> nearest(blocks.blocks() * block_codes, 255);
  std::vector<Merge> merges;
  std::size_t last = 0;
  while (merges.size() + 1 < codes.size) {
    blocks.weigh(last, 255);
    const ByteRow row(codes[last], blocks.planes());
    const std::uint8_t least =
        kernels().approach(blocks[0], blocks.planes(), blocks.blocks(), row.bytes.data(), nearest.data());
    const void* found = std::memchr(nearest.data(), least, codes.size);
    const auto next = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - nearest.data());
    merges.push_back({static_cast<std::uint32_t>(last), static_cast<std::uint32_t>(next), static_cast<double>(least)});
    last = next;
    progress(share(merges.size(), codes.size));
  }
  return merges;
}

std::vector<Merge> span(const Codes& codes, const PairDistance& distance, Progress& progress) {
  constexpr double none = std::numeric_limits<double>::infinity();
  std::vector<std::uint32_t> outside(codes.size - 1);
  std::iota(outside.begin(), outside.end(), 1u);
  std::vector<double> nearest(codes.size, none);
  std::vector<Merge> merges;
  for (std::uint32_t last = 0; !outside.empty();) {
    double least = none;
    auto next = outside.begin();
    for (auto at = outside.begin(); at < outside.end(); ++at) {
      nearest[*at] = std::min(nearest[*at], distance(codes[last], codes[*at]));
      if (nearest[*at] < least) {
        least = nearest[*at];
        next = at;
      }
    }
    merges.push_back({last, *next, least});
    last = *next;
    outside.erase(next);
    progress(share(merges.size(), codes.size));
  }
  return merges;
}

// Nearest-neighbour chains (Murtagh 1983) on the full matrix of distances.
//
// When y is merged into x, only row x is brought up to date; each other row catches up with the merges that it has
// missed when it is next read. So no column is ever written, which would touch a new cache line for each byte.
template <class Distance>
class Chain {
 public:
  // Beyond every distance: of a cluster to itself, and to one that has been merged into another.
  static constexpr Distance none =
      std::numeric_limits<Distance>::has_infinity ? std::numeric_limits<Distance>::infinity()
                                                  : std::numeric_limits<Distance>::max();

  Chain(std::size_t size, std::size_t stride)
      : size_(size), stride_(stride), matrix_(new Distance[size * stride]), seen_(size), gone_(size) {}

  Distance* row(std::size_t i) { return matrix_.get() + i * stride_; }

  std::vector<Merge> merges(Progress& progress) {
    std::vector<Merge> result;
    std::vector<std::size_t> chain;
    std::size_t first = 0;
    while (result.size() + 1 < size_) {
      if (chain.empty()) {
        while (gone_[first]) ++first;
        chain.push_back(first);
      }
      const std::size_t tip = chain.back();
      const Distance* distances = up_to_date(tip);
      Distance least = none;
      for (std::size_t j = 0; j < size_; ++j) least = std::min(least, distances[j]);
      if (chain.size() == 1 || distances[chain[chain.size() - 2]] != least) {
        chain.push_back(find(distances, least));
        continue;
      }
      const auto [kept, lost] = std::minmax({tip, chain[chain.size() - 2]});
      merge(kept, lost);
      result.push_back({static_cast<std::uint32_t>(kept), static_cast<std::uint32_t>(lost),
                        static_cast<double>(least)});
      chain.resize(chain.size() - 2);
      progress(share(result.size(), size_));
    }
    return result;
  }

 private:
  std::size_t find(const Distance* distances, Distance value) const {
    if constexpr (sizeof(Distance) == 1)
      return static_cast<std::size_t>(static_cast<const Distance*>(std::memchr(distances, value, size_)) - distances);
    else
      return static_cast<std::size_t>(std::find(distances, distances + size_, value) - distances);
  }

  Distance* up_to_date(std::size_t i) {
    Distance* distances = row(i);
    const auto *missed = log_.data() + seen_[i], *end = log_.data() + log_.size();
    for (; missed < end; ++missed) {
      distances[missed->kept] = std::max(distances[missed->kept], distances[missed->lost]);
      distances[missed->lost] = none;
    }
    seen_[i] = log_.size();
    return distances;
  }

  struct Merged {
    std::uint32_t kept, lost;
  };

  void merge(std::size_t kept, std::size_t lost) {
    Distance* into = up_to_date(kept);
    const Distance* from = up_to_date(lost);
    for (std::size_t j = 0, size = size_; j < size; ++j) into[j] = std::max(into[j], from[j]);
    gone_[lost] = true;
    log_.push_back({static_cast<std::uint32_t>(kept), static_cast<std::uint32_t>(lost)});
    seen_[kept] = log_.size();
  }

  std::size_t size_, stride_;
  std::unique_ptr<Distance[]> matrix_;
  std::vector<std::size_t> seen_;  // merges that a row has caught up with
  std::vector<bool> gone_;
  std::vector<Merged> log_;
};

std::vector<Merge> complete_bytes(const Codes& codes, const std::vector<std::size_t>& bits, int threads,
                                  Progress& progress) {
  const Blocks blocks = blocks_of(codes, bits);
  Chain<std::uint8_t> chain(codes.size, blocks.blocks() * block_codes);
  progress.phase(0, 0.3);
  parallel_ranges(threads, codes.size, 16, progress, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const ByteRow row(codes[i], blocks.planes());
      kernels().distances(blocks[0], blocks.planes(), blocks.blocks(), row.bytes.data(), chain.row(i));
      chain.row(i)[i] = Chain<std::uint8_t>::none;
    }
  });
  progress.phase(0.3, 1);
  return chain.merges(progress);
}

std::vector<Merge> complete(const Codes& codes, const PairDistance& distance, int threads, Progress& progress) {
  Chain<double> chain(codes.size, codes.size);
  progress.phase(0, 0.3);
  parallel_ranges(threads, codes.size, 16, progress, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t j = 0; j < codes.size; ++j)
        chain.row(i)[j] = i == j ? Chain<double>::none : distance(codes[i], codes[j]);
  });
  progress.phase(0.3, 1);
  return chain.merges(progress);
}

}  // namespace

std::vector<Merge> link_single(const Codes& codes, std::size_t attributes, const double* values, Progress& progress) {
  const std::vector<std::size_t> bits = varying_bits(codes);
  if (!values && bits.size() <= max_byte_distance) return span_bytes(codes, bits, progress);
  return span(codes, PairDistance(attributes, values), progress);
}

std::vector<Merge> link_complete(const Codes& codes, std::size_t attributes, const double* values, int threads,
                                 Progress& progress) {
  const std::vector<std::size_t> bits = varying_bits(codes);
  if (!values && bits.size() <= max_byte_distance) return complete_bytes(codes, bits, threads, progress);
  return complete(codes, PairDistance(attributes, values), threads, progress);
}

}  // namespace facetools
