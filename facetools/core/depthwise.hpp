// The depthwise convolution of 3 x 3 with a border of zeros and the batch normalisation and ReLU6 before it as one, and
// back through those after it too: what they hand one another lies in a few rows that never leave the cache.
#pragma once

#include <cstddef>

#include "batch_norm.hpp"
#include "parallel.hpp"

namespace facetools {

// Feature maps, channels last, seen by filters at every `stride`-th place. The stride is 1 or 2.
struct MapShape {
  std::size_t count, height, width, channels, stride;

  std::size_t filtered_height() const { return (height - 1) / stride + 1; }
  std::size_t filtered_width() const { return (width - 1) / stride + 1; }
};

struct Maps : MapShape {
  const float* values;
};

// out = the maps, normalised by `scale` and kept from 0 to 6, under the filters (9, channels), and the moments of that.
void depthwise(const Maps& maps, const Scale& scale, const float* filters, float* out, const Moments& moments,
               int threads, Progress& progress);

// That `out`, and what it is normalised by before it is kept from 0 to 6.
struct Filtered {
  const float* values;
  Scale scale;
};

struct DepthwiseGradients {
  float *by_map, *by_filter;  // that by the filters (9, channels)
  ScaleGradients by_scale, by_filtered_scale;
};

// From the gradient by the filtered maps, normalised and kept from 0 to 6, all others.
void depthwise_backward(const Maps& maps, const Scale& scale, const float* filters, const Filtered& filtered,
                        const float* gradient, const DepthwiseGradients& out, int threads, Progress& progress);

}  // namespace facetools
