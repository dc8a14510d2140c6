// Arrays that begin on a cache line, so that a vector of 64 bytes never lies across two.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace facetools {

struct FreeAligned {
  template <class T>
  void operator()(T* values) const {
    operator delete[](values, std::align_val_t{64});
  }
};

template <class T>
using Aligned = std::unique_ptr<T[], FreeAligned>;

// Zeros, of a type without constructor.
template <class T>
Aligned<T> aligned(std::size_t size) {
  return Aligned<T>(new (std::align_val_t{64}) T[size]());
}

}  // namespace facetools
