// Batch normalisation in training (Ioffe and Szegedy 2015) with the ReLU6 that follows it: what lies between two
// convolutions read and written once where separate layers do it twice.
#pragma once

#include <cstddef>

#include "parallel.hpp"

namespace facetools {

// Values of places x channels, one place after another: images with channels last.
struct Planes {
  const float* values;
  std::size_t places, channels;

  const float* at(std::size_t place) const { return values + place * channels; }
};

// By channel: what the values are normalised by, weight (value - mean) inverse + bias, inverse = 1 / deviation.
struct Scale {
  const float *weight, *bias, *mean, *inverse;
};

// The mean and the variance (of the population) of each channel.
void moments(const Planes& planes, float* mean, float* variance, int threads, Progress& progress);

// out = min(max(normalised, 0), 6).
void normalise_relu6(const Planes& planes, const Scale& scale, float* out, int threads, Progress& progress);

// From the gradient by that `out` those by the values, by the weight and by the bias; mean and inverse are those of the
// values and move with them.
void normalise_relu6_backward(const Planes& planes, const Scale& scale, const float* gradient, float* by_value,
                              float* by_weight, float* by_bias, int threads, Progress& progress);

}  // namespace facetools
