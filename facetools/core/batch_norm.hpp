// Batch normalisation in training (Ioffe and Szegedy 2015) with the ReLU6 that follows it: what lies between two
// convolutions read and written once where separate layers do it twice.
#pragma once

#include <cstddef>

#include "aligned.hpp"
#include "layers.hpp"
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

// The same, with weight and inverse as one factor.
class Normalisation {
 public:
  Normalisation(const Scale& scale, std::size_t channels) : factor_(aligned<float>(channels)), scale_(scale) {
    for (std::size_t c = 0; c < channels; ++c) factor_[c] = scale.weight[c] * scale.inverse[c];
  }

  Affine affine() const { return {scale_.mean, factor_.get(), scale_.bias}; }

 private:
  Aligned<float> factor_;
  Scale scale_;
};

// Whether so many floats from there on are written past the cache, which they would not fit.
bool goes_past_cache(const float* to, std::size_t size);

// The mean and the variance (of the population) of each channel.
void moments(const Planes& planes, float* mean, float* variance, int threads, Progress& progress);

// out = min(max(normalised, 0), 6).
void normalise_relu6(const Planes& planes, const Scale& scale, float* out, int threads, Progress& progress);

// By each value, and by channel those by the weight and the bias of a scale, whose mean and inverse are those of the
// values and move with them.
struct ScaleGradients {
  float *by_value, *by_weight, *by_bias;
};

// From the gradient by that `out` all others.
void normalise_relu6_backward(const Planes& planes, const Scale& scale, const float* gradient,
                              const ScaleGradients& out, int threads, Progress& progress);

// The second half of that, from the sums by channel of what passes of the gradient and of its products with the centred
// values. The gradient may lie where that by the values goes.
void descend_relu6(const Planes& planes, const Scale& scale, const float* gradient, const double* sum,
                   const double* product, const ScaleGradients& out, int threads, Progress& progress);

}  // namespace facetools
