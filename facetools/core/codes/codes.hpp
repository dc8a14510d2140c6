// Packed attribute codes: bit j of word w is attribute 64 w + j.
//
// Symbols used throughout codes/:
//   d            number of distinct codes
//   counts[i]    faces with code i, at least 1: a count of n means the same as n equal rows
//   attributes   bits in use per code, 0 to 256; all bits beyond them are 0
//   planes       bytes in use per code: ceil(attributes / 8), at least 1
//   threads      number of threads; results do not depend on it
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace facetools {

inline constexpr int max_words = 4;

// A view of codes.
struct Codes {
  const std::uint64_t* words;  // (size, width)
  std::size_t size;            // number of codes
  int width;                   // words per code, 1 to max_words

  const std::uint64_t* operator[](std::size_t i) const { return words + i * static_cast<std::size_t>(width); }
};

inline std::size_t plane_count(std::size_t attributes) { return std::max<std::size_t>(1, (attributes + 7) / 8); }

// The bits that are not the same in all codes, in ascending order.
inline std::vector<std::size_t> varying_bits(const Codes& codes) {
  std::vector<std::size_t> bits;
  for (std::size_t w = 0; w < static_cast<std::size_t>(codes.width); ++w) {
    std::uint64_t varying = 0;
    for (std::size_t i = 0; i < codes.size; ++i) varying |= codes[i][w] ^ codes[0][w];
    for (; varying; varying &= varying - 1)
      bits.push_back(64 * w + static_cast<std::size_t>(std::countr_zero(varying)));
  }
  return bits;
}

}  // namespace facetools
