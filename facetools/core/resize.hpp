// Images made larger or smaller, antialiased.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facetools {

// An image of height x width x 3 bytes.
template <class Byte>
struct Picture {
  Byte* pixels;
  std::size_t height, width;
};

// Stretches an image to fill another: each place is the mean of its neighbours, weighted by a triangle that reaches one
// pixel of the smaller of both images to either side. In fixed point, along rows first, as Pillow's bilinear filter has
// it bit for bit. Sides are at least 1 and at most 2^24.
void resize(const Picture<const std::uint8_t>& image, const Picture<std::uint8_t>& out);

}  // namespace facetools
