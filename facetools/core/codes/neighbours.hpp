// The codes within a Hamming radius of given codes, found anew at each visit and never stored. Two ways, both exact.
//
// visit(rows, count, found) calls found(row, neighbour) for each neighbour of each row, the row itself included, in no
// set order, until found returns false: that row has then seen enough.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codes/blocks.hpp"
#include "codes/codes.hpp"
#include "simd/kernels.hpp"

namespace facetools {

// The bits in which any two of the codes differ.
inline std::vector<std::size_t> varying_bits(const Codes& codes) {
  std::vector<std::size_t> bits;
  for (std::size_t w = 0; w < static_cast<std::size_t>(codes.width); ++w) {
    std::uint64_t varies = 0;
    for (std::size_t i = 0; i < codes.size; ++i) varies |= codes[i][w] ^ codes[0][w];
    for (; varies; varies &= varies - 1) bits.push_back(64 * w + static_cast<std::size_t>(std::countr_zero(varies)));
  }
  return bits;
}

// By popcount against all the codes.
class PopcountSearch {
 public:
  static constexpr std::size_t rows_at_once = 64;

  PopcountSearch(const Codes& codes, const std::vector<std::size_t>& bits, std::size_t radius)
      : codes_(codes),
        level_(kernels_for(bits.size())),
        radius_(static_cast<std::uint32_t>(std::min(radius, bits.size()))),
        size_((codes.size + block_codes - 1) / block_codes),
        blocks_(bits.empty() ? 1 : static_cast<int>(bits.back() / 8 + 1), size_) {
    for (std::size_t i = 0; i < codes.size; ++i) blocks_.set(i, codes[i], 1);
  }

  template <class Found>
  void visit(const std::uint32_t* rows, std::size_t count, const Found& found) const {
    constexpr std::size_t tile = 64;
    std::vector<std::uint32_t> hungry(rows, rows + count);
    std::array<std::uint8_t, 8 * max_words> bytes;
    std::array<std::uint64_t, tile> masks;
    for (std::size_t first = 0; first < size_; first += tile) {
      const std::size_t blocks = std::min(tile, size_ - first);
      std::erase_if(hungry, [&](std::uint32_t row) {
        for (int p = 0; p < blocks_.planes(); ++p) bytes[static_cast<std::size_t>(p)] = code_byte(codes_[row], p);
        level_.within(blocks_[first], blocks_.planes(), blocks, bytes.data(), radius_, masks.data());
        for (std::size_t b = 0; b < blocks; ++b)
          for (std::uint64_t mask = masks[b]; mask; mask &= mask - 1) {
            const std::size_t j = (first + b) * block_codes + static_cast<std::size_t>(std::countr_zero(mask));
            if (j >= codes_.size) break;
            if (!found(row, static_cast<std::uint32_t>(j))) return true;
          }
        return false;
      });
    }
  }

 private:
  const Codes& codes_;
  const Kernels& level_;
  std::uint32_t radius_;
  std::size_t size_;
  Blocks blocks_;
};

// By looking up every code that differs in up to radius bits. The hash of a code is the exclusive or of one number a
// bit, so that a flipped bit changes it by one operation, and a filter of 16 bits a code turns most candidates away.
class FlipSearch {
 public:
  static constexpr std::size_t rows_at_once = 64;

  FlipSearch(const Codes& codes, const std::vector<std::size_t>& bits, std::size_t radius)
      : codes_(codes),
        bits_(bits),
        radius_(radius),
        filter_(std::bit_ceil(codes.size / 4 + 1)),
        slots_(std::bit_ceil(2 * codes.size + 1), empty) {
    std::uint64_t state = 0;
    for (std::size_t k = 0; k < bits.size(); ++k) keys_.push_back(splitmix(state));
    for (std::uint32_t i = 0; i < codes.size; ++i) {
      const std::uint64_t h = hash(codes[i]);
      filter_[filter_word(h)] |= filter_bit(h);
      std::size_t at = slot(h);
      while (slots_[at] != empty) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = i;
    }
  }

  // How many candidates a row has.
  static double candidates(std::size_t bits, std::size_t radius) {
    double sum = 0, choices = 1;
    for (std::size_t t = 0; t <= std::min(bits, radius); ++t) {
      sum += choices;
      choices *= static_cast<double>(bits - t) / static_cast<double>(t + 1);
    }
    return sum;
  }

  template <class Found>
  void visit(const std::uint32_t* rows, std::size_t count, const Found& found) const {
    for (const std::uint32_t* row = rows; row < rows + count; ++row) {
      Candidate candidate{*row, {}};
      std::copy_n(codes_[*row], codes_.width, candidate.code.begin());
      const std::uint64_t h = hash(codes_[*row]);
      if (look_up(candidate, h, found)) flip(candidate, h, 0, radius_, found);
    }
  }

 private:
  static constexpr std::uint32_t empty = UINT32_MAX;

  struct Candidate {
    std::uint32_t row;
    std::array<std::uint64_t, max_words> code;

    void toggle(std::size_t bit) { code[bit / 64] ^= std::uint64_t{1} << (bit % 64); }
  };

  static std::uint64_t splitmix(std::uint64_t& state) {
    std::uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  std::uint64_t hash(const std::uint64_t* code) const {
    std::uint64_t h = 0;
    for (std::size_t k = 0; k < bits_.size(); ++k)
      if (code[bits_[k] / 64] >> (bits_[k] % 64) & 1) h ^= keys_[k];
    return h;
  }
  std::size_t filter_word(std::uint64_t h) const { return (h >> 6) & (filter_.size() - 1); }
  std::uint64_t filter_bit(std::uint64_t h) const { return std::uint64_t{1} << (h & 63); }
  std::size_t slot(std::uint64_t h) const { return (h >> 32) & (slots_.size() - 1); }

  template <class Found>
  bool look_up(const Candidate& candidate, std::uint64_t h, const Found& found) const {
    for (std::size_t at = slot(h); slots_[at] != empty; at = (at + 1) & (slots_.size() - 1))
      if (std::equal(codes_[slots_[at]], codes_[slots_[at]] + codes_.width, candidate.code.begin()) &&
          !found(candidate.row, slots_[at]))
        return false;
    return true;
  }

  // Up to left more bits, from number `from` on. False when found has seen enough.
  template <class Found>
  bool flip(Candidate& candidate, std::uint64_t h, std::size_t from, std::size_t left, const Found& found) const {
    if (left == 0) return true;
    for (std::size_t k = from; k < bits_.size(); ++k) {
      const std::uint64_t flipped = h ^ keys_[k];
      const bool maybe = filter_[filter_word(flipped)] & filter_bit(flipped);
      if (!maybe && left == 1) continue;
      candidate.toggle(bits_[k]);
      if (maybe && !look_up(candidate, flipped, found)) return false;
      if (!flip(candidate, flipped, k + 1, left - 1, found)) return false;
      candidate.toggle(bits_[k]);
    }
    return true;
  }

  const Codes& codes_;
  const std::vector<std::size_t>& bits_;
  std::size_t radius_;
  std::vector<std::uint64_t> keys_;    // one a varying bit
  std::vector<std::uint64_t> filter_;  // a power of two words
  std::vector<std::uint32_t> slots_;   // a power of two, at most half full
};

}  // namespace facetools
