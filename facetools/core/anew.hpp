// Between two linear bottlenecks where images have few channels. The expanded maps and what comes of the filtered ones
// never lie in memory: row by row they are made where they are needed, and once more on the way back, which costs less
// than to write and to read them where they are large. Some of their channels, a group, are gone through at a time, so
// that such rows fit the first caches. Moments of the expanded maps, and what gradients lose as those move, follow from
// the covariance of what they are made of.
#pragma once

#include <cstddef>

#include "parallel.hpp"
#include "shapes.hpp"

namespace facetools {

// What maps are made of: images (count, height, width, channels) that filters of kernel x kernel see at every
// `stride`-th place, times weights (inputs, channels of the maps). The kernel is 1, in strides of 1, or it is 3, with a
// border of zeros.
struct Expansion {
  const float* images;
  std::size_t height, width, channels, kernel, stride;
  const float* weights;

  std::size_t inputs() const { return kernel * kernel * channels; }
};

// Of each input its mean, and then its covariance with each channel of the maps: (inputs, 1 + channels).
template <class T>
struct InputMoments {
  T* values;
  std::size_t channels;

  T& mean(std::size_t input) const { return values[input * (1 + channels)]; }
  T* covariances(std::size_t input) const { return values + input * (1 + channels) + 1; }
};

// These, and the moments of the maps, which follow from them.
void expanded_moments(const Expansion& expansion, const MapShape& maps, const InputMoments<double>& inputs,
                      const Moments& out, int threads, Progress& progress);

// out (groups, count, height, width, channels of a group) = the maps, normalised by `scale` and kept from 0 to 6, under
// the filters (channels, 9), and the moments of that.
void expanded_depthwise(const Expansion& expansion, const Grouped& maps, const Scale& scale, const float* filters,
                        float* out, const Moments& moments, int threads, Progress& progress);

// From the gradient by the projected maps (places, outputs) all others, but by images through a kernel of 3.
void anew_backward(const Expansion& expansion, const InputMoments<const double>& inputs, const Grouped& maps,
                   const Scale& scale, const float* filters, const Filtered& filtered, const Projection& projection,
                   const float* gradient, const BottleneckGradients& out, int threads, Progress& progress);

}  // namespace facetools
