// Included by each SIMD level: sums of roots of weighted squared distances, eight codes side by side. The order of all
// additions is fixed, so that every level gives the same.
#pragma once

#include "simd/kernels.hpp"

namespace facetools {

namespace {

void root_sums(const Weighted& data, const std::uint64_t* row, double* sums) {
  const std::uint64_t* codes = data.codes;
  const double* counts = data.counts;
  for (std::size_t c = 0; c < data.clusters; ++c) {
    double part[8] = {};
    for (std::size_t group = 0; group < data.groups[c]; ++group, counts += 8) {
      double square[8] = {};
      for (int w = 0; w < data.width; ++w, codes += 8) {
        std::uint64_t apart[8];
        for (int i = 0; i < 8; ++i) apart[i] = codes[i] ^ row[w];
        for (int p = 8 * w; p < data.planes && p < 8 * w + 8; ++p) {
          const double* table = data.tables + 256 * p;
          for (int i = 0; i < 8; ++i) {
            square[i] += table[apart[i] & 255];
            apart[i] >>= 8;
          }
        }
      }
      for (int i = 0; i < 8; ++i) part[i] += counts[i] * __builtin_sqrt(square[i]);
    }
    sums[c] = ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
  }
}

}  // namespace

}  // namespace facetools
