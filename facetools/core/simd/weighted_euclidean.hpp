// Sums of weighted Euclidean distances, eight codes at a time. Included by every SIMD level.
//
// All additions are made in one fixed order, so that every level returns the same doubles.
#pragma once

#include "simd/kernels.hpp"

namespace facetools {

namespace {

void sum_weighted_euclidean(const WeightedCodes& data, const std::uint64_t* row, double* sums) {
  const std::uint64_t* codes = data.codes;
  const double* counts = data.counts;
  for (std::size_t c = 0; c < data.clusters; ++c) {
    double partial[8] = {};
    for (std::size_t group = 0; group < data.groups[c]; ++group, counts += 8) {
      double squared_distance[8] = {};
      for (int w = 0; w < data.width; ++w, codes += 8) {
        std::uint64_t difference[8];
        for (int i = 0; i < 8; ++i) difference[i] = codes[i] ^ row[w];
        for (int p = 8 * w; p < data.planes && p < 8 * w + 8; ++p) {
          const double* table = data.tables + 256 * p;
          for (int i = 0; i < 8; ++i) {
            squared_distance[i] += table[difference[i] & 255];
            difference[i] >>= 8;
          }
        }
      }
      for (int i = 0; i < 8; ++i) partial[i] += counts[i] * __builtin_sqrt(squared_distance[i]);
    }
    sums[c] = ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
              ((partial[4] + partial[5]) + (partial[6] + partial[7]));
  }
}

}  // namespace

}  // namespace facetools
