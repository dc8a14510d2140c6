// Conversion between rows of attributes and packed codes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codes/codes.hpp"
#include "codes/parallel.hpp"

namespace facetools {

// Packs values (rows, attributes) into codes (rows, words), words = max(1, ceil(attributes / 64)).
//
// float, double: bit = (value >= threshold). uint8: bit = value, which must be 0 or 1; the threshold is not used.
// Throws std::invalid_argument for NaN or another uint8, with the number of the first such row.
template <class Value>
void pack(const Value* values, std::size_t rows, std::size_t attributes, double threshold, std::uint64_t* codes,
          int threads, Progress& progress);

// Unpacks codes into values (size, attributes) of 0 and 1.
void unpack(const Codes& codes, std::size_t attributes, std::uint8_t* values, int threads, Progress& progress);

}  // namespace facetools
