// The kernels in portable C++: the specification that every other level matches bit for bit.
#include "simd/centroid_tables.hpp"
#include "simd/mixture_tables.hpp"
#include "simd/screen.hpp"
#include "simd/small_clusters.hpp"
#include "simd/weighted_euclidean.hpp"

namespace facetools {

namespace {

// The Hamming distances between a row and the 64 codes of a block.
struct BlockDistances {
  std::uint16_t value[64] = {};

  BlockDistances(const std::uint8_t* block, int planes, const std::uint8_t* row) {
    for (int p = 0; p < planes; ++p)
      for (int i = 0; i < 64; ++i)
        value[i] =
            static_cast<std::uint16_t>(value[i] + popcount(static_cast<std::uint8_t>(row[p] ^ block[64 * p + i])));
  }
};

void sum_block_runs(const std::uint8_t* blocks, int planes, const BlockRun* runs, std::size_t run_count,
                    const std::uint8_t* rows, std::size_t row_count, const DistanceTable& table, FixedPointSum* sums,
                    std::size_t clusters) {
  const std::size_t stride = 64 * (static_cast<std::size_t>(planes) + 1);
  for (const BlockRun* run = runs; run < runs + run_count; ++run)
    for (std::size_t r = 0; r < row_count; ++r) {
      FixedPointSum sum;
      for (std::size_t b = run->first; b < run->first + run->blocks; ++b) {
        const std::uint8_t* block = blocks + b * stride;
        const BlockDistances distance(block, planes, rows + r * static_cast<std::size_t>(planes));
        for (int i = 0; i < 64; ++i) add(sum, block[64 * planes + i], table.value[distance.value[i]]);
      }
      FixedPointSum& total = sums[r * clusters + run->cluster];
      total.low += sum.low << run->shift;
      total.high += sum.high << run->shift;
    }
}

void within_radius(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                   std::uint32_t radius, std::uint64_t* masks) {
  for (std::size_t b = 0; b < block_count; ++b) {
    const BlockDistances distance(blocks + b * 64 * (static_cast<std::size_t>(planes) + 1), planes, row);
    masks[b] = 0;
    for (int i = 0; i < 64; ++i) masks[b] |= std::uint64_t{distance.value[i] <= radius} << i;
  }
}

void hamming_distances(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                       std::uint8_t* distances) {
  for (std::size_t b = 0; b < block_count; ++b) {
    const BlockDistances distance(blocks + b * 64 * (static_cast<std::size_t>(planes) + 1), planes, row);
    for (int i = 0; i < 64; ++i) *distances++ = static_cast<std::uint8_t>(distance.value[i]);
  }
}

std::uint8_t update_nearest(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                            std::uint8_t* nearest) {
  std::uint8_t minimum = 255;
  for (std::size_t b = 0; b < block_count; ++b) {
    const std::uint8_t* block = blocks + b * 64 * (static_cast<std::size_t>(planes) + 1);
    const BlockDistances distance(block, planes, row);
    for (int i = 0; i < 64; ++i, ++nearest) {
      if (distance.value[i] < *nearest) *nearest = static_cast<std::uint8_t>(distance.value[i]);
      if (block[64 * planes + i] > *nearest) *nearest = block[64 * planes + i];
      if (*nearest < minimum) minimum = *nearest;
    }
  }
  return minimum;
}

struct PortableFloats {
  static constexpr int lanes = 4;
  using Vector = float __attribute__((vector_size(16)));

  static Vector load(const float* from) { return Vector{from[0], from[1], from[2], from[3]}; }
  static Vector splat(float value) { return Vector{value, value, value, value}; }
  static Vector add_product(Vector sum, Vector a, Vector b) { return sum + a * b; }
  static std::uint32_t at_most(Vector a, Vector b) {
    std::uint32_t mask = 0;
    for (int i = 0; i < lanes; ++i) mask |= std::uint32_t{a[i] <= b[i]} << i;
    return mask;
  }
};

}  // namespace

const Kernels& portable_kernels() {
  static constexpr Kernels level{
      .name = "portable",
      .sum_block_runs = sum_block_runs,
      .sum_small_clusters = sum_small_clusters,
      .sum_weighted_euclidean = sum_weighted_euclidean,
      .within_radius = within_radius,
      .hamming_distances = hamming_distances,
      .update_nearest = update_nearest,
      .screen = screen<PortableFloats>,
      .nearest_centroids = nearest_centroids,
      .seeding_potentials = seeding_potentials,
      .mixture_posteriors = mixture_posteriors,
      .add_posteriors = add_posteriors,
  };
  return level;
}

}  // namespace facetools
