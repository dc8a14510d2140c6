// The part of the module facetools._core that is for images: its faces are facetools/images.py and facetools/augment.py.
#include "bind.hpp"

#include <cmath>

#include "resize.hpp"
#include "warp.hpp"

namespace facetools {

namespace {

constexpr double max_warp = 1e9;

void warp_images(const Array4<const std::uint8_t>& pixels,
                 const nb::ndarray<const double, nb::shape<-1, 2, 3>, nb::c_contig, nb::device::cpu>& warps,
                 const Array4<float>& out, int threads) {
  const Images images{pixels.data(), pixels.shape(0), pixels.shape(1), pixels.shape(2), pixels.shape(3)};
  for (std::size_t axis = 0; axis < 4; ++axis) {
    require(pixels.shape(axis) == out.shape(axis), "out: not of the shape of the images");
    require(pixels.shape(axis) <= max_side, "images: a side is longer than 2^24");
  }
  require(images.height >= 1 && images.width >= 1, "images: without pixels");
  require(warps.shape(0) == images.count, "warps: not as many as images");
  for (std::size_t i = 0; i < 6 * images.count; ++i)
    require(std::abs(warps.data()[i]) <= max_warp, "warps: not from -1e9 to 1e9");
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  warp(images, warps.data(), out.data(), threads, silent);
}

template <class T>
using Colours = nb::ndarray<T, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;

template <class T>
Picture<T> picture_of(const Colours<T>& pixels) {
  const Picture<T> picture{pixels.data(), pixels.shape(0), pixels.shape(1)};
  require(picture.height >= 1 && picture.width >= 1, "images: without pixels");
  require(picture.height <= max_side && picture.width <= max_side, "images: a side is longer than 2^24");
  return picture;
}

void resize_image(const Colours<const std::uint8_t>& pixels, const Colours<std::uint8_t>& out) {
  const Picture<const std::uint8_t> from = picture_of(pixels);
  const Picture<std::uint8_t> to = picture_of(out);
  const nb::gil_scoped_release release;
  resize(from, to);
}

}  // namespace

void bind_images(nb::module_& m) {
  m.def("warp", warp_images, nb::arg("images").noconvert(), nb::arg("warps").noconvert(), nb::arg("out").noconvert(),
        "threads"_a);
  m.def("resize", resize_image, nb::arg("image").noconvert(), nb::arg("out").noconvert());
}

}  // namespace facetools
