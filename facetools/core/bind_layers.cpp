// The part of the module facetools._core that learns: its faces are facetools/batch_norm.py, facetools/products.py
// and facetools/adadelta.py.
#include "bind.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <vector>

#include "adadelta.hpp"
#include "batch_norm.hpp"
#include "product.hpp"
#include "simd.hpp"
#include "tensor.hpp"

namespace facetools {

namespace {

// Places of channels, which are the last side, of as many sides as there are.
using Read = Tensor<const float>;
using Written = Tensor<float>;
using Table = Tensor<const float, 2>;

template <class Array>
std::size_t places_of(const Array& values) {
  return values.last() == 0 ? 0 : values.size() / values.last();
}

// Values that count as sixteens of channels.
Planes sixteens_of(const Read& values) {
  const std::size_t places = places_of(values), channels = values.last();
  require(places >= 1, "values: there are none");
  require(places % places_of_sixteens(channels) == 0, "values: their channels are no multiple of 16");
  return {values.data(), places, channels};
}

template <class Array>
auto* rows_of(const Planes& planes, const Array& table, std::size_t rows) {
  require(table.last() == planes.channels && table.size() == rows * planes.channels,
          "not of the shape that fits the values");
  return table.data();
}

// weight, bias, mean and inverse deviation of each channel, a row each.
Scale scale_of(const Planes& planes, const Read& table) {
  const float* const rows = rows_of(planes, table, 4);
  return {rows, rows + planes.channels, rows + 2 * planes.channels, rows + 3 * planes.channels};
}

// The gradients by the weight and by the bias, a row each.
ScaleGradients scale_gradients_of(const Planes& channels, const Written& table) {
  float* const by_weight = rows_of(channels, table, 2);
  return {by_weight, by_weight + channels.channels};
}

// Means and variances, a row each.
Moments moments_in(const Planes& channels, const Written& table) {
  float* const means = rows_of(channels, table, 2);
  return {means, means + channels.channels};
}

void moments_of(const Read& values, const Written& out, int threads) {
  const Planes planes = sixteens_of(values);
  const Moments to = moments_in(planes, out);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  moments(planes, to, threads, silent);
}

void take_moments_of(const Written& moments, std::size_t places, const Tensor<const float, 1>& weight,
                     const Tensor<const float, 1>& bias, const Tensor<float, 1>& mean, const Tensor<float, 1>& variance,
                     const Tensor<std::int64_t, 0>& batches, float epsilon, float momentum, const Written& scale) {
  const std::size_t channels = weight.shape(0);
  const Planes planes{nullptr, places, channels};
  require(places >= 2, "places: fewer than two");
  require(bias.shape(0) == channels && mean.shape(0) == channels && variance.shape(0) == channels,
          "not as many as weights");
  const BatchNorm norm{weight.data(), bias.data(), mean.data(), variance.data(), epsilon, momentum};
  take_moments(norm, moments_in(planes, moments), places, channels, rows_of(planes, scale, 4));
  ++*batches.data();
}

void normalise_rows(const Read& values, const Read& scale, float low, float high, const std::optional<Read>& added,
                    const Written& out, int threads) {
  const Planes planes = sixteens_of(values);
  Scale by = scale_of(planes, scale);
  by.bounds = {low, high};
  const float* const more = added ? rows_of(planes, *added, planes.places) : nullptr;
  float* const to = rows_of(planes, out, planes.places);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  normalise(planes, by, more, to, threads, silent);
}

void normalise_rows_backward(const Read& values, const Read& scale, float low, float high, const Read& gradient,
                             const Written& by_value, const Written& by_scale, int threads) {
  const Planes planes = sixteens_of(values);
  Scale by = scale_of(planes, scale);
  by.bounds = {low, high};
  const float* const from = rows_of(planes, gradient, planes.places);
  float* const to = rows_of(planes, by_value, planes.places);
  const ScaleGradients out = scale_gradients_of(planes, by_scale);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  normalise_backward(planes, by, from, to, out, threads, silent);
}

// A matrix as it lies, or turned.
Factor factor_of(const Table& values, bool turned) {
  const std::size_t rows = values.shape(0), columns = values.shape(1);
  if (turned) return {values.data(), columns, rows, 1, columns};
  return {values.data(), rows, columns, columns, 1};
}

void product_of(const Table& a, const Table& b, bool turned_a, bool turned_b, bool rounded,
                const Tensor<float, 2>& out, int threads) {
  const Factor left = factor_of(a, turned_a), right = factor_of(b, turned_b);
  const std::size_t columns = right.inner;
  require(left.inner == right.rows && left.inner >= 1, "a, b: not of shapes that fit");
  require(out.shape(0) == left.rows && out.shape(1) == columns, "out: not of the shape of the product");
  require(columns % channels_in == 0, "out: its columns are no multiple of 16");
  float* const to = out.data();
  const Products& products = products_of(rounded);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  if (!turned_b) return product(left, {right.values, left.inner, columns, columns}, products, to, threads, silent);
  const Aligned<float> lines = room<float>(right.rows * columns);
  transpose(right.values, columns, right.rows, columns, lines.get(), threads, silent);
  product(left, {lines.get(), left.inner, columns, columns}, products, to, threads, silent);
}

template <class T>
using Tensors = std::vector<Tensor<T>>;

void adadelta_step(const Tensors<float>& parameters, const Tensors<const float>& gradients,
                   const Tensors<float>& squares, const Tensors<float>& steps, const Tensors<float>& taken, float rate,
                   float decay, float epsilon, float weight_decay, int threads) {
  const std::size_t count = parameters.size();
  require(gradients.size() == count && squares.size() == count && steps.size() == count && taken.size() == count,
          "not as many as parameters");
  std::vector<Learned> all;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = parameters[i].size();
    require(gradients[i].size() == size && squares[i].size() == size && steps[i].size() == size,
            "not of the size of their parameters");
    require(taken[i].size() == 1, "not one number of steps taken");
    all.push_back({parameters[i].data(), gradients[i].data(), squares[i].data(), steps[i].data(), size});
  }
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  adadelta(all, {rate, decay, epsilon, weight_decay}, threads, silent);
  for (const Tensor<float>& steps_taken : taken) ++*steps_taken.data();
}

}  // namespace

void bind_layers(nb::module_& m) {
  m.def("moments", moments_of, nb::arg("values").noconvert(), nb::arg("out").noconvert(), "threads"_a);
  m.def("take_moments", take_moments_of, nb::arg("moments").noconvert(), "places"_a, nb::arg("weight").noconvert(),
        nb::arg("bias").noconvert(), nb::arg("mean").noconvert(), nb::arg("variance").noconvert(),
        nb::arg("batches").noconvert(), "epsilon"_a, "momentum"_a, nb::arg("scale").noconvert());
  m.def("normalise", normalise_rows, nb::arg("values").noconvert(), nb::arg("scale").noconvert(), "low"_a, "high"_a,
        nb::arg("added").noconvert().none(), nb::arg("out").noconvert(), "threads"_a);
  m.def("normalise_backward", normalise_rows_backward, nb::arg("values").noconvert(), nb::arg("scale").noconvert(),
        "low"_a, "high"_a, nb::arg("gradient").noconvert(), nb::arg("by_value").noconvert(),
        nb::arg("by_scale").noconvert(), "threads"_a);
  m.def("product", product_of, nb::arg("a").noconvert(), nb::arg("b").noconvert(), "turned_a"_a, "turned_b"_a,
        "rounded"_a, nb::arg("out").noconvert(), "threads"_a);
  m.def("adadelta", adadelta_step, nb::arg("parameters").noconvert(), nb::arg("gradients").noconvert(),
        nb::arg("squares").noconvert(), nb::arg("steps").noconvert(), nb::arg("taken").noconvert(), "rate"_a, "decay"_a,
        "epsilon"_a, "weight_decay"_a, "threads"_a);
}

}  // namespace facetools
