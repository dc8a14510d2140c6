// The depthwise convolution of 3 x 3 with a border of zeros, and the batch normalisation and ReLU6 before it, as one:
// what they hand one another lies in a few rows that never leave the cache.
#pragma once

#include <cstddef>

#include "batch_norm.hpp"
#include "parallel.hpp"

namespace facetools {

// Feature maps, channels last, seen by filters at every `stride`-th place. The stride is 1 or 2.
struct Maps {
  const float* values;
  std::size_t count, height, width, channels, stride;

  std::size_t filtered_height() const { return (height - 1) / stride + 1; }
  std::size_t filtered_width() const { return (width - 1) / stride + 1; }
};

// out = the maps, normalised by `scale` and kept from 0 to 6, under the filters (9, channels).
void depthwise(const Maps& maps, const Scale& scale, const float* filters, float* out, int threads, Progress& progress);

// From the gradient by that `out` all others, that by the filters (9, channels) too.
void depthwise_backward(const Maps& maps, const Scale& scale, const float* filters, const float* gradient,
                        const ScaleGradients& out, float* by_filter, int threads, Progress& progress);

}  // namespace facetools
