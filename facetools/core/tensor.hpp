// Arguments that are tensors of torch, or arrays of NumPy. There are hundreds of them in a step of training, between
// two of whose computations nothing else goes on: to have torch make arrays of NumPy takes a fortieth of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <type_traits>

#include "bind.hpp"

namespace facetools {

// Values in memory, one after another in C's order, of so many sides, or of any number of them. They last as long as
// the call that they are given to.
template <class T, int sides = -1>
class Tensor {
 public:
  T* data() const { return data_; }
  std::size_t shape(std::size_t side) const { return shape_[side]; }
  std::size_t last() const { return shape_[last_]; }
  std::size_t size() const {
    return std::accumulate(shape_.begin(), shape_.end(), std::size_t{1}, std::multiplies<>());
  }

  // Whether there are such values; takes them.
  bool take(T* data, std::size_t count, const std::int64_t* shape, const std::int64_t* strides) {
    if (count > shape_.size() || (sides >= 0 && count != static_cast<std::size_t>(sides))) return false;
    data_ = data;
    last_ = count == 0 ? 0 : count - 1;
    shape_.fill(1);
    bool in_order = true;
    std::int64_t step = 1;
    for (std::size_t side = count; side-- > 0;) {
      if (strides != nullptr && shape[side] != 1 && strides[side] != step) in_order = false;
      step *= shape[side];
      shape_[side] = static_cast<std::size_t>(shape[side]);
    }
    return in_order || step == 0;
  }

 private:
  T* data_ = nullptr;
  std::size_t last_ = 0;
  std::array<std::size_t, 5> shape_{};
};

// What a type of tensors offers other languages (DLPack 1.3, DLPackExchangeAPI), up to what is used of it.
struct DLPackExchange {
  std::uint32_t major, minor;
  const void* not_used[4];
  int (*borrow)(void* object, nb::dlpack::dltensor* out);  // or none
};

// The values of an object, borrowed, if it is such a tensor, as those of newer versions of torch are.
inline std::optional<nb::dlpack::dltensor> borrowed(nb::handle object) {
  static PyObject* const name = PyUnicode_InternFromString("__dlpack_c_exchange_api__");
  const nb::object offered = nb::steal(PyObject_GetAttr(object.type().ptr(), name));
  nb::dlpack::dltensor tensor;
  if (offered.is_valid() && PyCapsule_CheckExact(offered.ptr())) {
    const auto* const exchange =
        static_cast<const DLPackExchange*>(PyCapsule_GetPointer(offered.ptr(), "dlpack_exchange_api"));
    if (exchange != nullptr && exchange->major == 1 && exchange->borrow != nullptr &&
        exchange->borrow(object.ptr(), &tensor) == 0)
      return tensor;
  }
  PyErr_Clear();
  return std::nullopt;
}

}  // namespace facetools

template <class T, int sides>
struct nanobind::detail::type_caster<facetools::Tensor<T, sides>> {
  using Any = facetools::Tensor<T, sides>;
  using Array = ndarray<T, c_contig, device::cpu>;

  NB_TYPE_CASTER(Any, make_caster<Array>::Name)

  template <class Flags>
  bool from_python(handle given, Flags flags, cleanup_list* cleanup) noexcept {
    object array = borrow(given);
    if (!PyObject_CheckBuffer(given.ptr())) {  // as NumPy's arrays are, and no tensors
      if (const auto tensor = facetools::borrowed(given)) return take(*tensor);
      // Older torch lends no parameter, but what it holds.
      array = steal(PyObject_CallMethod(given.ptr(), "detach", nullptr));
      if (!array.is_valid()) {
        PyErr_Clear();
        array = borrow(given);
      }
    }
    if (!array_.from_python(array, flags, cleanup)) return false;
    const Array& lent = array_.value;
    return value.take(lent.data(), lent.ndim(), lent.shape_ptr(), lent.stride_ptr());
  }

 private:
  bool take(const dlpack::dltensor& tensor) {
    if (tensor.dtype != dtype<std::remove_const_t<T>>() || tensor.device.device_type != device::cpu::value)
      return false;
    char* const data = static_cast<char*>(tensor.data) + tensor.byte_offset;
    return value.take(reinterpret_cast<T*>(data), static_cast<std::size_t>(tensor.ndim), tensor.shape, tensor.strides);
  }

  make_caster<Array> array_;
};
