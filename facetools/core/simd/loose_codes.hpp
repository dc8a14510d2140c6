// Included by each SIMD level, so that popcount becomes its instruction. Only <cstdint> may be used here: a template of
// the standard library compiled for AVX-512 could be linked into the code that runs everywhere.
#pragma once

#include "simd/kernels.hpp"

namespace facetools {

namespace {

inline unsigned bit_count(std::uint64_t bits) { return static_cast<unsigned>(__builtin_popcountll(bits)); }

inline void add(Sum& sum, std::uint64_t weight, std::uint64_t value) {
  sum.low += weight * (value & 0xffffff);
  sum.high += weight * (value >> 24);
}

template <int W>
void sum_loose(const Loose& loose, const std::uint64_t* row, const DistanceTable& table, Sum* sums) {
  for (std::size_t j = 0; j < loose.size; ++j) {
    unsigned distance = 0;
    for (int w = 0; w < W; ++w) distance += bit_count(row[w] ^ loose.codes[j * W + static_cast<std::size_t>(w)]);
    add(sums[loose.clusters[j]], static_cast<std::uint64_t>(loose.counts[j]), table.value[distance]);
  }
}

void sum_loose(const Loose& loose, const std::uint64_t* row, int width, const DistanceTable& table, Sum* sums) {
  switch (width) {
    case 1: return sum_loose<1>(loose, row, table, sums);
    case 2: return sum_loose<2>(loose, row, table, sums);
    case 3: return sum_loose<3>(loose, row, table, sums);
    default: return sum_loose<4>(loose, row, table, sums);
  }
}

}  // namespace

}  // namespace facetools
