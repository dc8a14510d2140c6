// The sum of a value for each attribute in which two codes differ, by one table a byte of the difference.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codes/codes.hpp"

namespace facetools {

class PairDistance {
 public:
  // values: (attributes,) or null for one each.
  PairDistance(std::size_t attributes, const double* values)
      : planes_(std::max<std::size_t>(1, (attributes + 7) / 8)), table_(planes_ * 256) {
    for (std::size_t a = 0; a < attributes; ++a)
      for (std::size_t bits = 0; bits < 256; ++bits)
        if (bits >> (a % 8) & 1) table_[a / 8 * 256 + bits] += values ? values[a] : 1;
  }

  const double* tables() const { return table_.data(); }
  int planes() const { return static_cast<int>(planes_); }

  double operator()(const std::uint64_t* x, const std::uint64_t* y) const {
    double sum = 0;
    for (std::size_t first = 0; first < planes_; first += 8) {
      std::uint64_t apart = x[first / 8] ^ y[first / 8];
      for (std::size_t p = first; p < std::min(first + 8, planes_); ++p, apart >>= 8)
        sum += table_[p * 256 + (apart & 255)];
    }
    return sum;
  }

 private:
  std::size_t planes_;
  std::vector<double> table_;  // (planes, 256)
};

}  // namespace facetools
