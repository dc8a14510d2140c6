// Sums of distances to the codes of small clusters. Included by every SIMD level, so that each uses its own popcount
// instruction.
//
// The headers that SIMD levels include may use <cstdint> and <cstddef> only. The linker keeps one copy of a template of
// the standard library; if that copy were compiled for AVX-512, other processors would crash.
#pragma once

#include "simd/kernels.hpp"

namespace facetools {

namespace {

inline unsigned popcount(std::uint64_t bits) { return static_cast<unsigned>(__builtin_popcountll(bits)); }

inline void add(FixedPointSum& sum, std::uint64_t weight, std::uint64_t value) {
  sum.low += weight * (value & 0xffffff);
  sum.high += weight * (value >> 24);
}

template <int W>
void sum_small_clusters(const SmallClusters& data, const std::uint64_t* row, const DistanceTable& table,
                        FixedPointSum* sums) {
  for (std::size_t j = 0; j < data.size; ++j) {
    unsigned distance = 0;
    for (int w = 0; w < W; ++w) distance += popcount(row[w] ^ data.codes[j * W + static_cast<std::size_t>(w)]);
    add(sums[data.clusters[j]], static_cast<std::uint64_t>(data.counts[j]), table.value[distance]);
  }
}

void sum_small_clusters(const SmallClusters& data, const std::uint64_t* row, int width, const DistanceTable& table,
                        FixedPointSum* sums) {
  switch (width) {
    case 1: return sum_small_clusters<1>(data, row, table, sums);
    case 2: return sum_small_clusters<2>(data, row, table, sums);
    case 3: return sum_small_clusters<3>(data, row, table, sums);
    default: return sum_small_clusters<4>(data, row, table, sums);
  }
}

}  // namespace

}  // namespace facetools
