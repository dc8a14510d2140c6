// Packed attribute codes: bit j of word w is attribute 64 w + j. One to four words, up to 256 attributes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "codes/parallel.hpp"

namespace facetools {

inline constexpr int max_words = 4;

// A view of n codes of `width` words, row after row.
struct Codes {
  const std::uint64_t* words;
  std::size_t size;
  int width;

  const std::uint64_t* operator[](std::size_t i) const { return words + i * static_cast<std::size_t>(width); }
};

// Calls body with the width as a compile-time constant: body.template operator()<W>().
template <class Body>
decltype(auto) with_width(int width, const Body& body) {
  switch (width) {
    case 1: return body.template operator()<1>();
    case 2: return body.template operator()<2>();
    case 3: return body.template operator()<3>();
    case 4: return body.template operator()<4>();
    default: throw std::invalid_argument("codes: 1 to 4 words are known");
  }
}

// out[i] = the bits (score >= threshold) of row i. Throws on NaN, naming the first row that holds one.
template <class Score>
void pack(const Score* scores, std::size_t rows, std::size_t attributes, double threshold, std::uint64_t* out,
          int threads, Progress& progress);

// out[i] = one byte 0 or 1 for each attribute of code i.
void unpack(const Codes& codes, std::size_t attributes, std::uint8_t* out, int threads, Progress& progress);

struct Distinct {
  std::vector<std::uint64_t> codes;  // (d, width), in order of first appearance
  std::vector<std::int64_t> counts;  // (d,) rows with that code
  std::vector<std::int64_t> first;   // (d,) first row with that code
};

// The distinct codes; inverse (n,) receives the number of each row's code. Fewer than 2^32 - 1 distinct codes.
Distinct distinct(const Codes& codes, std::int64_t* inverse, Progress& progress);

}  // namespace facetools
