// What the parts of the module facetools._core have in common.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

namespace facetools {

namespace nb = nanobind;
using namespace nb::literals;

template <class T>
using Array2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
using Array4 = nb::ndarray<T, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

constexpr std::size_t max_side = std::size_t{1} << 24;

inline void require(bool right, const char* message) {
  if (!right) throw std::invalid_argument(message);
}

void bind_images(nb::module_& m);

}  // namespace facetools
