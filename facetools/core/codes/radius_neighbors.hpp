// Radius search: all codes within a Hamming radius of a query code.
//
// Two exact methods with the same interface. Neighbors are recomputed at each visit and never stored, so that memory
// does not grow with their number:
//
//   visit(queries, count, on_neighbor) calls on_neighbor(query, neighbor) for each neighbor of each query code, the
//   query itself included, in any order. It goes on to the next query when on_neighbor returns false.
//
// `queries` and neighbors are indices of codes.
// Limits: fewer than 2^32 - 1 codes; up to 256 varying bits.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codes/code_blocks.hpp"
#include "codes/codes.hpp"
#include "codes/splitmix64.hpp"
#include "simd/kernels.hpp"

namespace facetools {

// Compares each query with all codes by popcount.
//
// Time O(d * planes) per query, memory O(d * planes).
class ExhaustiveSearch {
 public:
  // bits: varying_bits(codes).
  ExhaustiveSearch(const Codes& codes, const std::vector<std::size_t>& bits, std::size_t radius)
      : codes_(codes),
        kernels_(kernels_for(bits.size())),
        radius_(static_cast<std::uint32_t>(std::min(radius, bits.size()))),
        blocks_(codes, bits) {}

  template <class OnNeighbor>
  void visit(const std::uint32_t* queries, std::size_t count, const OnNeighbor& on_neighbor) const {
    constexpr std::size_t tile_blocks = 64;  // stay in the cache while all queries visit them
    std::vector<std::uint32_t> active(queries, queries + count);
    std::array<std::uint64_t, tile_blocks> masks;
    for (std::size_t first = 0; first < blocks_.blocks(); first += tile_blocks) {
      const std::size_t blocks = std::min(tile_blocks, blocks_.blocks() - first);
      std::erase_if(active, [&](std::uint32_t query) {
        const auto row = code_bytes(codes_[query], blocks_.planes());
        kernels_.within_radius(blocks_[first], blocks_.planes(), blocks, row.data(), radius_, masks.data());
        for (std::size_t b = 0; b < blocks; ++b)
          for (std::uint64_t mask = masks[b]; mask; mask &= mask - 1) {
            const std::size_t j = (first + b) * block_size + static_cast<std::size_t>(std::countr_zero(mask));
            if (j >= codes_.size) break;
            if (!on_neighbor(query, static_cast<std::uint32_t>(j))) return true;
          }
        return false;
      });
    }
  }

 private:
  const Codes& codes_;
  const Kernels& kernels_;
  std::uint32_t radius_;
  CodeBlocks blocks_;
};

// Looks up every code that differs from the query in at most `radius` varying bits in a hash table.
//
// The hash of a code is the exclusive or of one random key per set bit (Zobrist 1970), so that flipping a bit updates
// it in one operation. A Bloom filter with one hash function and 16 bits or more per code rejects most candidates.
//
// Time O(candidates(bits, radius)) per query, memory O(d).
class BitFlipSearch {
 public:
  // bits: varying_bits(codes). Both arguments must outlive this object.
  BitFlipSearch(const Codes& codes, const std::vector<std::size_t>& bits, std::size_t radius)
      : codes_(codes),
        bits_(bits),
        radius_(radius),
        filter_(std::bit_ceil(codes.size / 4 + 1)),
        slots_(std::bit_ceil(2 * codes.size + 1), empty) {
    SplitMix64 random(0);
    for (std::size_t k = 0; k < bits.size(); ++k) keys_.push_back(random.next());
    for (std::uint32_t i = 0; i < codes.size; ++i) {
      const std::uint64_t h = hash(codes[i]);
      filter_[filter_word(h)] |= filter_bit(h);
      std::size_t slot = first_slot(h);
      while (slots_[slot] != empty) slot = next_slot(slot);
      slots_[slot] = i;
    }
  }

  // The number of candidates per query: the sum of the binomials (bits, t) for t = 0 to radius.
  static double candidates(std::size_t bits, std::size_t radius) {
    double sum = 0, binomial = 1;
    for (std::size_t t = 0; t <= std::min(bits, radius); ++t) {
      sum += binomial;
      binomial *= static_cast<double>(bits - t) / static_cast<double>(t + 1);
    }
    return sum;
  }

  template <class OnNeighbor>
  void visit(const std::uint32_t* queries, std::size_t count, const OnNeighbor& on_neighbor) const {
    for (const std::uint32_t* query = queries; query < queries + count; ++query) {
      Candidate candidate{*query, {}};
      std::copy_n(codes_[*query], codes_.width, candidate.code.begin());
      const std::uint64_t h = hash(codes_[*query]);
      if (look_up(candidate, h, on_neighbor)) flip(candidate, h, 0, radius_, on_neighbor);
    }
  }

 private:
  static constexpr std::uint32_t empty = UINT32_MAX;

  struct Candidate {
    std::uint32_t query;
    std::array<std::uint64_t, max_words> code;  // the code of the query with some bits flipped

    void toggle(std::size_t bit) { code[bit / 64] ^= std::uint64_t{1} << (bit % 64); }
  };

  std::uint64_t hash(const std::uint64_t* code) const {
    std::uint64_t h = 0;
    for (std::size_t k = 0; k < bits_.size(); ++k)
      if (code[bits_[k] / 64] >> (bits_[k] % 64) & 1) h ^= keys_[k];
    return h;
  }
  std::size_t filter_word(std::uint64_t h) const { return (h >> 6) & (filter_.size() - 1); }
  std::uint64_t filter_bit(std::uint64_t h) const { return std::uint64_t{1} << (h & 63); }
  std::size_t first_slot(std::uint64_t h) const { return (h >> 32) & (slots_.size() - 1); }
  std::size_t next_slot(std::size_t slot) const { return (slot + 1) & (slots_.size() - 1); }

  // Reports the codes equal to the candidate. Returns false if on_neighbor did.
  template <class OnNeighbor>
  bool look_up(const Candidate& candidate, std::uint64_t h, const OnNeighbor& on_neighbor) const {
    for (std::size_t slot = first_slot(h); slots_[slot] != empty; slot = next_slot(slot))
      if (std::equal(codes_[slots_[slot]], codes_[slots_[slot]] + codes_.width, candidate.code.begin()) &&
          !on_neighbor(candidate.query, slots_[slot]))
        return false;
    return true;
  }

  // Flips 1 to `flips` more of the bits from number `first` on, and looks up each result. Returns false if on_neighbor
  // did.
  template <class OnNeighbor>
  bool flip(Candidate& candidate, std::uint64_t h, std::size_t first, std::size_t flips,
            const OnNeighbor& on_neighbor) const {
    if (flips == 0) return true;
    for (std::size_t k = first; k < bits_.size(); ++k) {
      const std::uint64_t flipped = h ^ keys_[k];
      const bool may_exist = filter_[filter_word(flipped)] & filter_bit(flipped);
      if (!may_exist && flips == 1) continue;
      candidate.toggle(bits_[k]);
      if (may_exist && !look_up(candidate, flipped, on_neighbor)) return false;
      if (!flip(candidate, flipped, k + 1, flips - 1, on_neighbor)) return false;
      candidate.toggle(bits_[k]);
    }
    return true;
  }

  const Codes& codes_;
  const std::vector<std::size_t>& bits_;
  std::size_t radius_;
  std::vector<std::uint64_t> keys_;    // (bits,) random key of each varying bit
  std::vector<std::uint64_t> filter_;  // Bloom filter; its size is a power of two
  std::vector<std::uint32_t> slots_;   // open addressing, at most half full; its size is a power of two
};

}  // namespace facetools
