// What lies between two linear bottlenecks (Sandler et al. 2018): maps of many channels that come of images of few, are
// filtered channel by channel, and are projected to few again.
#pragma once

#include <cstddef>

#include "batch_norm.hpp"

namespace facetools {

// Feature maps, channels last, seen by filters of 3 x 3 with a border of zeros at every `stride`-th place. The stride is
// 1 or 2.
struct MapShape {
  std::size_t count, height, width, channels, stride;

  std::size_t filtered_height() const { return (height - 1) / stride + 1; }
  std::size_t filtered_width() const { return (width - 1) / stride + 1; }
  std::size_t places() const { return count * height * width; }
  std::size_t filtered_places() const { return count * filtered_height() * filtered_width(); }
};

// Maps of so many channels, some of which lie together.
struct Grouped {
  MapShape all;
  std::size_t group;

  std::size_t groups() const { return all.channels / group; }
  MapShape one() const { return {all.count, all.height, all.width, group, all.stride}; }
};

// Filtered maps, and what they are normalised by before they are kept from 0 to 6.
struct Filtered {
  const float* values;
  Scale scale;
};

// What becomes of these: times weights (outputs, channels).
struct Projection {
  std::size_t outputs;
  const float* weights;
  const Products& products;
};

// Of the gradient by what is projected those by all that it is made of.
struct BottleneckGradients {
  float* by_images;      // or none
  const float* besides;  // what else comes to the images, past all layers, or none
  float *by_weights, *by_filters, *by_projection;
  ScaleGradients by_scale, by_filtered_scale;
};

}  // namespace facetools
