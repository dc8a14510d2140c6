// The kernels of every level but the portable one, over a class Simd of its byte vectors:
//
//   lanes                 bytes in a vector, a divisor of 64
//   Vector, Total         bytes; 32-bit sums
//   load, splat           from memory; one byte everywhere
//   distance(a, b)        popcount of a ^ b, byte by byte
//   add(a, b)
//   at_most(bytes, limit) a bit for each byte, set where byte <= limit
//   store, least(a, b), greatest(a, b)
//   Index<n>(bytes)       bytes below n, made ready to look up
//   Table<n>              n bytes, with load(digits), and at(index) to look them up
//   zero(), dot(total, digits, weights), sum(total)
#pragma once

#include "simd/centroids.hpp"
#include "simd/loose_codes.hpp"
#include "simd/by_planes.hpp"
#include "simd/root_sums.hpp"
#include "simd/screen.hpp"

namespace facetools {

namespace {

// One code against 64 others; planes as in by_planes.
template <class Simd, int planes>
struct Row {
  Row(const std::uint8_t* bytes, int count) : n(planes == 0 ? count : planes) {
    for (int p = 0; p < n; ++p) plane[p] = Simd::splat(bytes[p]);
  }

  typename Simd::Vector distances(const std::uint8_t* block, int lane) const {
    typename Simd::Vector sum = Simd::distance(plane[0], Simd::load(block + lane));
    for (int p = 1; p < n; ++p) sum = Simd::add(sum, Simd::distance(plane[p], Simd::load(block + 64 * p + lane)));
    return sum;
  }

  int n;
  typename Simd::Vector plane[planes == 0 ? 32 : planes];
};

template <class Simd, int planes>
void sum_runs(const std::uint8_t* blocks, int plane_count, const Run* runs, std::size_t run_count,
              const std::uint8_t* rows, std::size_t row_count, const DistanceTable& table, Sum* sums,
              std::size_t clusters) {
  constexpr int digits = DistanceTable::digits;
  constexpr int entries = planes == 0 ? 256 : (8 * planes + 16) / 16 * 16;
  const int n = planes == 0 ? plane_count : planes;
  const std::size_t stride = 64 * (static_cast<std::size_t>(n) + 1);

  typename Simd::template Table<entries> lookup[digits];
  for (int k = 0; k < digits; ++k) lookup[k].load(table.digit[k]);

  for (const Run* run = runs; run < runs + run_count; ++run)
    for (std::size_t r = 0; r < row_count; ++r) {
      const Row<Simd, planes> row(rows + r * static_cast<std::size_t>(n), n);
      typename Simd::Total total[digits];
      for (int k = 0; k < digits; ++k) total[k] = Simd::zero();

      const std::uint8_t* block = blocks + run->first * stride;
      for (std::uint32_t b = 0; b < run->blocks; ++b, block += stride)
        for (int lane = 0; lane < 64; lane += Simd::lanes) {
          const typename Simd::template Index<entries> index(row.distances(block, lane));
          const typename Simd::Vector weights = Simd::load(block + 64 * n + lane);
          for (int k = 0; k < digits; ++k) total[k] = Simd::dot(total[k], lookup[k].at(index), weights);
        }

      Sum& sum = sums[r * clusters + run->cluster];
      for (int k = 0; k < 3; ++k) {
        sum.low += std::uint64_t{Simd::sum(total[k])} << (8 * k + static_cast<int>(run->shift));
        sum.high += std::uint64_t{Simd::sum(total[k + 3])} << (8 * k + static_cast<int>(run->shift));
      }
    }
}

template <class Simd, int planes>
void within(const std::uint8_t* blocks, int plane_count, std::size_t block_count, const std::uint8_t* bytes,
            std::uint32_t radius, std::uint64_t* masks) {
  const Row<Simd, planes> row(bytes, plane_count);
  const auto limit = Simd::splat(static_cast<std::uint8_t>(radius));
  const std::size_t stride = 64 * (static_cast<std::size_t>(row.n) + 1);
  for (std::size_t b = 0; b < block_count; ++b, blocks += stride) {
    masks[b] = 0;
    for (int lane = 0; lane < 64; lane += Simd::lanes)
      masks[b] |= Simd::at_most(row.distances(blocks, lane), limit) << lane;
  }
}

template <class Simd, int planes>
void distances(const std::uint8_t* blocks, int plane_count, std::size_t block_count, const std::uint8_t* bytes,
               std::uint8_t* out) {
  const Row<Simd, planes> row(bytes, plane_count);
  const std::size_t stride = 64 * (static_cast<std::size_t>(row.n) + 1);
  for (std::size_t b = 0; b < block_count; ++b, blocks += stride, out += 64)
    for (int lane = 0; lane < 64; lane += Simd::lanes) Simd::store(out + lane, row.distances(blocks, lane));
}

template <class Simd, int planes>
std::uint8_t approach(const std::uint8_t* blocks, int plane_count, std::size_t block_count, const std::uint8_t* bytes,
                      std::uint8_t* nearest) {
  const Row<Simd, planes> row(bytes, plane_count);
  const std::size_t stride = 64 * (static_cast<std::size_t>(row.n) + 1);
  auto least = Simd::splat(255);
  for (std::size_t b = 0; b < block_count; ++b, blocks += stride, nearest += 64)
    for (int lane = 0; lane < 64; lane += Simd::lanes) {
      const auto weights = Simd::load(blocks + 64 * row.n + lane);
      const auto closer = Simd::least(Simd::load(nearest + lane), row.distances(blocks, lane));
      const auto now = Simd::greatest(closer, weights);
      Simd::store(nearest + lane, now);
      least = Simd::least(least, now);
    }
  std::uint8_t lanes[Simd::lanes], smallest = 255;
  Simd::store(lanes, least);
  for (const std::uint8_t lane : lanes) smallest = lane < smallest ? lane : smallest;
  return smallest;
}

template <class Simd>
void sum_runs(const std::uint8_t* blocks, int planes, const Run* runs, std::size_t run_count, const std::uint8_t* rows,
              std::size_t row_count, const DistanceTable& table, Sum* sums, std::size_t clusters) {
  by_planes(planes, [&]<int n>() {
    sum_runs<Simd, n>(blocks, planes, runs, run_count, rows, row_count, table, sums, clusters);
  });
}

template <class Simd>
void within(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
            std::uint32_t radius, std::uint64_t* masks) {
  by_planes(planes, [&]<int n>() { within<Simd, n>(blocks, planes, block_count, row, radius, masks); });
}

template <class Simd>
void distances(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
               std::uint8_t* out) {
  by_planes(planes, [&]<int n>() { distances<Simd, n>(blocks, planes, block_count, row, out); });
}

template <class Simd>
std::uint8_t approach(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                      std::uint8_t* nearest) {
  return by_planes(planes, [&]<int n>() { return approach<Simd, n>(blocks, planes, block_count, row, nearest); });
}

}  // namespace

}  // namespace facetools
