// The specification: every other level must give the same integers.
#include "simd/centroids.hpp"
#include "simd/loose_codes.hpp"
#include "simd/root_sums.hpp"
#include "simd/screen.hpp"

namespace facetools {

namespace {

struct Distances {
  std::uint16_t of[64] = {};

  Distances(const std::uint8_t* block, int planes, const std::uint8_t* row) {
    for (int p = 0; p < planes; ++p)
      for (int i = 0; i < 64; ++i)
        of[i] = static_cast<std::uint16_t>(of[i] + bit_count(static_cast<std::uint8_t>(row[p] ^ block[64 * p + i])));
  }
};

void sum_runs(const std::uint8_t* blocks, int planes, const Run* runs, std::size_t run_count, const std::uint8_t* rows,
              std::size_t row_count, const DistanceTable& table, Sum* sums, std::size_t clusters) {
  const std::size_t stride = 64 * (static_cast<std::size_t>(planes) + 1);
  for (const Run* run = runs; run < runs + run_count; ++run)
    for (std::size_t r = 0; r < row_count; ++r) {
      Sum sum;
      for (std::size_t b = run->first; b < run->first + run->blocks; ++b) {
        const std::uint8_t* block = blocks + b * stride;
        const Distances distance(block, planes, rows + r * static_cast<std::size_t>(planes));
        for (int i = 0; i < 64; ++i) add(sum, block[64 * planes + i], table.value[distance.of[i]]);
      }
      Sum& total = sums[r * clusters + run->cluster];
      total.low += sum.low << run->shift;
      total.high += sum.high << run->shift;
    }
}

void within(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
            std::uint32_t radius, std::uint64_t* masks) {
  for (std::size_t b = 0; b < block_count; ++b) {
    const Distances distance(blocks + b * 64 * (static_cast<std::size_t>(planes) + 1), planes, row);
    masks[b] = 0;
    for (int i = 0; i < 64; ++i) masks[b] |= std::uint64_t{distance.of[i] <= radius} << i;
  }
}

void distances(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
               std::uint8_t* out) {
  for (std::size_t b = 0; b < block_count; ++b) {
    const Distances distance(blocks + b * 64 * (static_cast<std::size_t>(planes) + 1), planes, row);
    for (int i = 0; i < 64; ++i) *out++ = static_cast<std::uint8_t>(distance.of[i]);
  }
}

std::uint8_t approach(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                      std::uint8_t* nearest) {
  std::uint8_t least = 255;
  for (std::size_t b = 0; b < block_count; ++b) {
    const std::uint8_t* block = blocks + b * 64 * (static_cast<std::size_t>(planes) + 1);
    const Distances distance(block, planes, row);
    for (int i = 0; i < 64; ++i, ++nearest) {
      if (distance.of[i] < *nearest) *nearest = static_cast<std::uint8_t>(distance.of[i]);
      if (block[64 * planes + i] > *nearest) *nearest = block[64 * planes + i];
      if (*nearest < least) least = *nearest;
    }
  }
  return least;
}

struct PlainFloats {
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
  static constexpr Kernels level{"portable", sum_runs, sum_loose,           root_sums, within,
                                 distances,  approach, screen<PlainFloats>, nearest,   potentials};
  return level;
}

}  // namespace facetools
