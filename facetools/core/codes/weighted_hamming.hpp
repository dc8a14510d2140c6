// The weighted Hamming distance: the sum of values[a] over the attributes a in which two codes differ.
//
// One table lookup per byte of the exclusive or of two codes. The order of the additions is fixed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codes/codes.hpp"

namespace facetools {

class WeightedHamming {
 public:
  // values: (attributes,), or null for a value of 1 per attribute.
  WeightedHamming(std::size_t attributes, const double* values)
      : planes_(plane_count(attributes)), table_(planes_ * 256) {
    for (std::size_t a = 0; a < attributes; ++a)
      for (std::size_t byte = 0; byte < 256; ++byte)
        if (byte >> (a % 8) & 1) table_[a / 8 * 256 + byte] += values ? values[a] : 1;
  }

  const double* tables() const { return table_.data(); }
  int planes() const { return static_cast<int>(planes_); }

  double operator()(const std::uint64_t* x, const std::uint64_t* y) const {
    double sum = 0;
    for (std::size_t first = 0; first < planes_; first += 8) {
      std::uint64_t difference = x[first / 8] ^ y[first / 8];
      for (std::size_t p = first; p < std::min(first + 8, planes_); ++p, difference >>= 8)
        sum += table_[p * 256 + (difference & 255)];
    }
    return sum;
  }

 private:
  std::size_t planes_;
  std::vector<double> table_;  // (planes, 256): the distance that each byte of a difference adds
};

}  // namespace facetools
