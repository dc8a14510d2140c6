// The kernels of the layers of a network, one set a SIMD level. Unlike the others they add up floats, which each level
// rounds as it does. Channels lie side by side, in a multiple of `channels_in` of them.
#pragma once

#include <cstddef>

#include "factors.hpp"

namespace facetools {

constexpr std::size_t channels_in = 16;

// What values are kept between: those of ReLU6, or of nothing.
struct Bounds {
  float low, high;
};

constexpr Bounds relu6{0, 6};

// By channel: (value - mean) * factor + bias.
struct Affine {
  const float *mean, *factor, *bias;
  Bounds bounds = relu6;

  Affine from(std::size_t channel) const { return {mean + channel, factor + channel, bias + channel, bounds}; }
};

// A row of filters (9, channels) of 3 x 3 at `width` places, `stride` (1 or 2) apart.
struct Strip {
  const float* filters;
  std::size_t width, channels, stride;
};

// By channel: what lies between values and an origin is added up, and its square.
struct Gathered {
  const float* origin;
  float *sum, *squares;
};

struct Layers {
  // Gathers values (places, channels).
  void (*gather)(const float* values, std::size_t places, std::size_t channels, const Gathered& in);

  // out = affine values (places, channels), kept between the bounds. With `past`, here and below, what is written goes
  // past the cache, where it must begin at a multiple of 64 bytes.
  void (*clamp)(const Affine& by, const float* values, std::size_t places, std::size_t channels, bool past, float* out);

  // Of the gradient by that `out`, which passes where the affine value is strictly between the bounds, adds what
  // passes, and its product with value - mean; and writes `out`, if there is any.
  void (*add_passed)(const Affine& by, const float* values, const float* gradient, std::size_t places,
                     std::size_t channels, float* out, float* sum, float* product);

  // The same, but `out` is what passes, and may be the gradient.
  void (*take_passed)(const Affine& by, const float* values, const float* gradient, std::size_t places,
                      std::size_t channels, float* out, float* sum, float* product);

  // out = factor * (what passes - shift - (value - mean) * slope); out may be the gradient.
  void (*descend)(const Affine& by, const float* shift, const float* slope, const float* values, const float* gradient,
                  std::size_t places, std::size_t channels, bool past, float* out);

  // out = a row of maps under the filters, gathered too: rows are the three that they see, from one column before the
  // first.
  void (*filter_row)(const Strip& strip, const float* const* rows, bool past, float* out, const Gathered& in);

  // out = the gradient by a row of maps, of `width` such values: from those by the rows of filtered maps whose first,
  // second and last taps see it, or none, each between two columns of zeros. Adds that by the filters (9, channels),
  // too. The values and what comes out have room for a column more, where the values are zeros.
  void (*lead_row_back)(const Strip& strip, std::size_t width, const float* const* gradients, const float* values,
                        float* by_filter, float* out);

  Products products;

  // The same, but factors are rounded to bfloat16 where the level gains by it. Sums stay floats.
  Products rounded_products;
};

}  // namespace facetools
