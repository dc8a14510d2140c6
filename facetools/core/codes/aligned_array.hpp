// Arrays aligned to a cache line, so that a 64-byte vector never spans two lines.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace facetools {

struct AlignedDelete {
  template <class T>
  void operator()(T* values) const {
    operator delete[](values, std::align_val_t{64});
  }
};

template <class T>
using AlignedArray = std::unique_ptr<T[], AlignedDelete>;

// An array of zeros. T must be an arithmetic type: no destructor is called.
template <class T>
AlignedArray<T> make_aligned(std::size_t size) {
  return AlignedArray<T>(new (std::align_val_t{64}) T[size]());
}

}  // namespace facetools
