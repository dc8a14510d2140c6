// The kernels on byte vectors, shared by all levels but the portable one.
//
// They are templates over a class Simd, which wraps the intrinsics of one instruction set:
//
//   lanes                     bytes per vector, a divisor of 64
//   Vector                    `lanes` bytes
//   Total                     32-bit sums
//   load, store, splat        read from memory; write to memory; repeat one byte
//   distance(a, b)            popcount of a ^ b per byte
//   add, min, max             per byte; add wraps around
//   at_most(bytes, limit)     a mask with one bit per byte, set where byte <= limit
//   Index<n>(bytes)           bytes below n, prepared for lookups in a Table<n>
//   Table<n>                  n bytes: load(bytes), at(index)
//   zero()                    a Total of zeros
//   dot(total, a, weights)    total + sums of a * weight; weights are at most 63
//   sum(total)                the sum over the lanes of a Total
#pragma once

#include "simd/centroid_tables.hpp"
#include "simd/mixture_tables.hpp"
#include "simd/screen.hpp"
#include "simd/small_clusters.hpp"
#include "simd/weighted_euclidean.hpp"
#include "simd/with_planes.hpp"

namespace facetools {

namespace {

// One query code, to be compared with the 64 codes of a block; `planes` as in with_planes.
template <class Simd, int planes>
struct QueryCode {
  QueryCode(const std::uint8_t* bytes, int plane_count) : n(planes == 0 ? plane_count : planes) {
    for (int p = 0; p < n; ++p) plane[p] = Simd::splat(bytes[p]);
  }

  // The Hamming distances to the codes lane to lane + Simd::lanes - 1 of a block.
  typename Simd::Vector distances(const std::uint8_t* block, int lane) const {
    typename Simd::Vector sum = Simd::distance(plane[0], Simd::load(block + lane));
    for (int p = 1; p < n; ++p) sum = Simd::add(sum, Simd::distance(plane[p], Simd::load(block + 64 * p + lane)));
    return sum;
  }

  int n;
  typename Simd::Vector plane[planes == 0 ? max_planes : planes];
};

// Looks up each byte of the fixed-point value by the distance, and adds it up in 32-bit lanes: BlockRun says why these
// do not overflow.
template <class Simd, int planes>
void sum_block_runs(const std::uint8_t* blocks, int plane_count, const BlockRun* runs, std::size_t run_count,
                    const std::uint8_t* rows, std::size_t row_count, const DistanceTable& table, FixedPointSum* sums,
                    std::size_t clusters) {
  constexpr int value_bytes = DistanceTable::value_bytes;
  constexpr int entries = planes == 0 ? 256 : (8 * planes + 16) / 16 * 16;
  const int n = planes == 0 ? plane_count : planes;
  const std::size_t stride = 64 * (static_cast<std::size_t>(n) + 1);

  typename Simd::template Table<entries> lookup[value_bytes];
  for (int k = 0; k < value_bytes; ++k) lookup[k].load(table.byte[k]);

  for (const BlockRun* run = runs; run < runs + run_count; ++run)
    for (std::size_t r = 0; r < row_count; ++r) {
      const QueryCode<Simd, planes> row(rows + r * static_cast<std::size_t>(n), n);
      typename Simd::Total total[value_bytes];
      for (int k = 0; k < value_bytes; ++k) total[k] = Simd::zero();

      const std::uint8_t* block = blocks + run->first * stride;
      for (std::uint32_t b = 0; b < run->blocks; ++b, block += stride)
        for (int lane = 0; lane < 64; lane += Simd::lanes) {
          const typename Simd::template Index<entries> index(row.distances(block, lane));
          const typename Simd::Vector weights = Simd::load(block + 64 * n + lane);
          for (int k = 0; k < value_bytes; ++k) total[k] = Simd::dot(total[k], lookup[k].at(index), weights);
        }

      FixedPointSum& sum = sums[r * clusters + run->cluster];
      for (int k = 0; k < 3; ++k) {
        sum.low += std::uint64_t{Simd::sum(total[k])} << (8 * k + static_cast<int>(run->shift));
        sum.high += std::uint64_t{Simd::sum(total[k + 3])} << (8 * k + static_cast<int>(run->shift));
      }
    }
}

template <class Simd, int planes>
void within_radius(const std::uint8_t* blocks, int plane_count, std::size_t block_count, const std::uint8_t* bytes,
                   std::uint32_t radius, std::uint64_t* masks) {
  const QueryCode<Simd, planes> row(bytes, plane_count);
  const auto limit = Simd::splat(static_cast<std::uint8_t>(radius));
  const std::size_t stride = 64 * (static_cast<std::size_t>(row.n) + 1);
  for (std::size_t b = 0; b < block_count; ++b, blocks += stride) {
    masks[b] = 0;
    for (int lane = 0; lane < 64; lane += Simd::lanes)
      masks[b] |= Simd::at_most(row.distances(blocks, lane), limit) << lane;
  }
}

template <class Simd, int planes>
void hamming_distances(const std::uint8_t* blocks, int plane_count, std::size_t block_count, const std::uint8_t* bytes,
                       std::uint8_t* distances) {
  const QueryCode<Simd, planes> row(bytes, plane_count);
  const std::size_t stride = 64 * (static_cast<std::size_t>(row.n) + 1);
  for (std::size_t b = 0; b < block_count; ++b, blocks += stride, distances += 64)
    for (int lane = 0; lane < 64; lane += Simd::lanes) Simd::store(distances + lane, row.distances(blocks, lane));
}

template <class Simd, int planes>
std::uint8_t update_nearest(const std::uint8_t* blocks, int plane_count, std::size_t block_count,
                            const std::uint8_t* bytes, std::uint8_t* nearest) {
  const QueryCode<Simd, planes> row(bytes, plane_count);
  const std::size_t stride = 64 * (static_cast<std::size_t>(row.n) + 1);
  auto minimum = Simd::splat(255);
  for (std::size_t b = 0; b < block_count; ++b, blocks += stride, nearest += 64)
    for (int lane = 0; lane < 64; lane += Simd::lanes) {
      const auto weights = Simd::load(blocks + 64 * row.n + lane);
      const auto closer = Simd::min(Simd::load(nearest + lane), row.distances(blocks, lane));
      const auto updated = Simd::max(closer, weights);
      Simd::store(nearest + lane, updated);
      minimum = Simd::min(minimum, updated);
    }
  std::uint8_t lanes[Simd::lanes], result = 255;
  Simd::store(lanes, minimum);
  for (const std::uint8_t lane : lanes) result = lane < result ? lane : result;
  return result;
}

template <class Simd>
void sum_block_runs(const std::uint8_t* blocks, int planes, const BlockRun* runs, std::size_t run_count,
                    const std::uint8_t* rows, std::size_t row_count, const DistanceTable& table, FixedPointSum* sums,
                    std::size_t clusters) {
  with_planes(planes, [&]<int n>() {
    sum_block_runs<Simd, n>(blocks, planes, runs, run_count, rows, row_count, table, sums, clusters);
  });
}

template <class Simd>
void within_radius(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                   std::uint32_t radius, std::uint64_t* masks) {
  with_planes(planes, [&]<int n>() { within_radius<Simd, n>(blocks, planes, block_count, row, radius, masks); });
}

template <class Simd>
void hamming_distances(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                       std::uint8_t* distances) {
  with_planes(planes, [&]<int n>() { hamming_distances<Simd, n>(blocks, planes, block_count, row, distances); });
}

template <class Simd>
std::uint8_t update_nearest(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                            std::uint8_t* nearest) {
  return with_planes(planes,
                     [&]<int n>() { return update_nearest<Simd, n>(blocks, planes, block_count, row, nearest); });
}

}  // namespace

}  // namespace facetools
