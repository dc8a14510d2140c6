// Included by each SIMD level: which clusters may be nearer to a cluster than the nearest one known.
#pragma once

#include "simd/kernels.hpp"

namespace facetools {

namespace {

// Floats: lanes, Vector, load, splat, add_product(sum, a, b), and at_most(a, b), a bit a lane. Rounding may differ
// between levels: what is let through is decided in double by the caller, so that it changes no answer.
template <class Floats>
void screen(const float* blocks, int attributes, std::size_t block_count, const float* rows, const float* slopes,
            const float* limits, std::uint32_t* masks) {
  using Vector = typename Floats::Vector;
  constexpr int clusters = Screen::block, lanes = Floats::lanes;
  for (std::size_t b = 0; b < block_count; ++b, blocks += clusters * (attributes + 2)) {
    std::uint32_t found[Screen::rows] = {};
    for (int lane = 0; lane < clusters; lane += 2 * lanes) {
      const float* offset = blocks + clusters * attributes + lane;
      const float* slope = offset + clusters;
      Vector left[Screen::rows], right[Screen::rows];
      for (int r = 0; r < Screen::rows; ++r) {
        left[r] = Floats::load(offset) - Floats::splat(slopes[r]) * Floats::load(slope);
        right[r] = Floats::load(offset + lanes) - Floats::splat(slopes[r]) * Floats::load(slope + lanes);
      }
      for (int a = 0; a < attributes; ++a) {
        const float* values = blocks + clusters * a + lane;
        const Vector y = Floats::load(values), z = Floats::load(values + lanes);
        for (int r = 0; r < Screen::rows; ++r) {
          const Vector x = Floats::splat(rows[Screen::rows * a + r]);
          left[r] = Floats::add_product(left[r], x, y);
          right[r] = Floats::add_product(right[r], x, z);
        }
      }
      for (int r = 0; r < Screen::rows; ++r) {
        const Vector limit = Floats::splat(limits[r]);
        found[r] |= (Floats::at_most(left[r], limit) | Floats::at_most(right[r], limit) << lanes) << lane;
      }
    }
    for (std::size_t r = 0; r < Screen::rows; ++r) masks[r * block_count + b] = found[r];
  }
}

}  // namespace

}  // namespace facetools
