// Batch normalisation in training (Ioffe and Szegedy 2015) with the ReLU6 that follows it, or with none: what lies
// between two convolutions read and written once where separate layers do it twice.
#pragma once

#include <cstddef>
#include <vector>

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
  Bounds bounds = relu6;

  Scale from(std::size_t channel) const {
    return {weight + channel, bias + channel, mean + channel, inverse + channel, bounds};
  }
};

// The same, with weight and inverse as one factor.
class Normalisation {
 public:
  Normalisation(const Scale& scale, std::size_t channels) : factor_(aligned<float>(channels)), scale_(scale) {
    for (std::size_t c = 0; c < channels; ++c) factor_[c] = scale.weight[c] * scale.inverse[c];
  }

  Affine affine() const { return {scale_.mean, factor_.get(), scale_.bias, scale_.bounds}; }

 private:
  Aligned<float> factor_;
  Scale scale_;
};

// Whether so many floats from there on are written past the cache, which they would not fit.
bool goes_past_cache(const float* to, std::size_t size);

// The mean and the variance (of the population) of each channel.
struct Moments {
  float *mean, *variance;

  Moments from(std::size_t channel) const { return {mean + channel, variance + channel}; }

  // From what so many places gathered, by channel: the sums and then those of the squares.
  void take(const std::vector<double>& sums, const float* origin, std::size_t places) const;
};

// So many places together have sixteens of channels. Functions of planes alone want a multiple of these.
std::size_t places_of_sixteens(std::size_t channels);

void moments(const Planes& planes, const Moments& out, int threads, Progress& progress);

// By channel: what the layer has learned, and the moving averages of its means and variances.
struct BatchNorm {
  const float *weight, *bias;
  float *mean, *variance;
  float epsilon, momentum;
};

// scale (4, channels) = that of values of such moments, over so many places, which the moving averages follow.
void take_moments(const BatchNorm& norm, const Moments& moments, std::size_t places, std::size_t channels,
                  float* scale);

// The same in use: that of values whose moments are the moving averages.
void take_averages(const BatchNorm& norm, std::size_t channels, float* scale);

// out = normalised, kept between the bounds, and what there is to be added.
void normalise(const Planes& planes, const Scale& scale, const float* added, float* out, int threads,
               Progress& progress);

// Gradients by the weight and the bias of each channel.
struct ScaleGradients {
  float *by_weight, *by_bias;

  ScaleGradients from(std::size_t channel) const { return {by_weight + channel, by_bias + channel}; }
};

// What passes of the gradient by that `out` loses shift + (value - mean) slope, by channel, as mean and inverse are those
// of the values and move with them.
class Drag {
 public:
  // From the sums by channel of what passes and of its products with the centred values, over so many places.
  Drag(const Scale& scale, std::size_t places, const double* sum, const double* product, std::size_t channels,
       const ScaleGradients& out);

  const float* shift() const { return shift_.get(); }
  const float* slope() const { return slope_.get(); }

 private:
  Aligned<float> shift_, slope_;
};

// by_value = factor (what passes of the gradient, which may lie there too, less the drag).
void descend(const Planes& planes, const Scale& scale, const Drag& drag, const float* gradient, float* by_value,
             int threads, Progress& progress);

// From the gradient by that `out` all others.
void normalise_backward(const Planes& planes, const Scale& scale, const float* gradient, float* by_value,
                        const ScaleGradients& out, int threads, Progress& progress);

}  // namespace facetools
