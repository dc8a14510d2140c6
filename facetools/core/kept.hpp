// Between two linear bottlenecks where images have so many channels that to expand them anew on the way back, as
// anew.hpp does, would cost more than to keep what comes of it. Nothing but the projection looks across the channels of
// that: so a thread goes all the way with some of them, a group, which lie together in memory and in its cache:
// (groups, count, height, width, channels of a group).
#pragma once

#include <cstddef>

#include "layers.hpp"
#include "parallel.hpp"
#include "shapes.hpp"

namespace facetools {

// out = images (places, inputs) times turned weights (channels, inputs), and the moments of that.
void expand(const Factor& images, const float* weights, const Grouped& maps, const Products& products, float* out,
            const Moments& moments, int threads, Progress& progress);

// out = the maps, normalised by `scale` and kept from 0 to 6, under the filters (channels, 9), and the moments of that.
void depthwise(const Grouped& maps, const float* values, const Scale& scale, const float* filters, float* out,
               const Moments& moments, int threads, Progress& progress);

// From the gradient by the projected maps (places, outputs) all others, all by products as the projection's.
void kept_backward(const Factor& images, const float* weights, const Grouped& maps, const float* values,
                   const Scale& scale, const float* filters, const Filtered& filtered, const Projection& projection,
                   const float* gradient, const BottleneckGradients& out, int threads, Progress& progress);

}  // namespace facetools
