// The screening kernel of linkage: finds the clusters that may be nearer than a bound. Included by every SIMD level.
//
// Rounding may differ between levels. The caller widens its bounds by more than the rounding error and compares the
// clusters that pass in double, so that results do not depend on the level (codes/linkage_sums.cpp).
#pragma once

#include "simd/kernels.hpp"

namespace facetools {

namespace {

// Floats is a vector type with lanes, Vector, load, splat, add_product(sum, a, b) = sum + a * b, and at_most(a, b), a
// mask with one bit per lane.
template <class Floats>
void screen(const float* blocks, int attributes, std::size_t block_count, const float* rows, const float* slopes,
            const float* limits, std::uint32_t* masks) {
  using Vector = typename Floats::Vector;
  constexpr int block_size = ScreenLayout::block_size, row_count = ScreenLayout::rows, lanes = Floats::lanes;
  for (std::size_t b = 0; b < block_count; ++b, blocks += block_size * (attributes + 2)) {
    std::uint32_t block_masks[row_count] = {};
    for (int lane = 0; lane < block_size; lane += 2 * lanes) {
      const float* offset = blocks + block_size * attributes + lane;
      const float* slope = offset + block_size;
      Vector left[row_count], right[row_count];
      for (int r = 0; r < row_count; ++r) {
        left[r] = Floats::load(offset) - Floats::splat(slopes[r]) * Floats::load(slope);
        right[r] = Floats::load(offset + lanes) - Floats::splat(slopes[r]) * Floats::load(slope + lanes);
      }
      for (int a = 0; a < attributes; ++a) {
        const float* values = blocks + block_size * a + lane;
        const Vector left_values = Floats::load(values), right_values = Floats::load(values + lanes);
        for (int r = 0; r < row_count; ++r) {
          const Vector row_value = Floats::splat(rows[row_count * a + r]);
          left[r] = Floats::add_product(left[r], row_value, left_values);
          right[r] = Floats::add_product(right[r], row_value, right_values);
        }
      }
      for (int r = 0; r < row_count; ++r) {
        const Vector limit = Floats::splat(limits[r]);
        block_masks[r] |= (Floats::at_most(left[r], limit) | Floats::at_most(right[r], limit) << lanes) << lane;
      }
    }
    for (std::size_t r = 0; r < row_count; ++r) masks[r * block_count + b] = block_masks[r];
  }
}

}  // namespace

}  // namespace facetools
