// The part of the module facetools._core that learns: its faces are facetools/batch_norm.py, facetools/bottleneck.py,
// facetools/products.py and facetools/adadelta.py.
#include "bind.hpp"

#include <nanobind/stl/optional.h>

#include <optional>

#include "adadelta.hpp"
#include "batch_norm.hpp"
#include "bottleneck.hpp"
#include "depthwise.hpp"
#include "product.hpp"

namespace facetools {

namespace {

using Written2 = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

Planes planes_of(const Array2<float>& values) {
  require(values.shape(0) >= 1 && values.shape(1) >= 1, "values: there are none");
  require(values.shape(1) % channels_in == 0, "values: their channels are no multiple of 16");
  return {values.data(), values.shape(0), values.shape(1)};
}

template <class Array>
auto* rows_of(const Planes& planes, const Array& table, std::size_t rows) {
  require(table.shape(0) == rows && table.shape(1) == planes.channels, "not of the shape that fits the values");
  return table.data();
}

// weight, bias, mean and inverse deviation of each channel, a row each.
Scale scale_of(const Planes& planes, const Array2<float>& table) {
  const float* const rows = rows_of(planes, table, 4);
  return {rows, rows + planes.channels, rows + 2 * planes.channels, rows + 3 * planes.channels};
}

// The gradients by the weight and by the bias, a row each.
ScaleGradients scale_gradients_of(const Planes& channels, const Written2& table) {
  float* const by_weight = rows_of(channels, table, 2);
  return {by_weight, by_weight + channels.channels};
}

// Means and variances, a row each.
Moments moments_in(const Planes& channels, const Written2& table) {
  float* const means = rows_of(channels, table, 2);
  return {means, means + channels.channels};
}

void moments_of(const Array2<float>& values, const Written2& out, int threads) {
  const Planes planes = planes_of(values);
  const Moments to = moments_in(planes, out);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  moments(planes, to, threads, silent);
}

void normalise(const Array2<float>& values, const Array2<float>& scale, const Written2& out, int threads) {
  const Planes planes = planes_of(values);
  const Scale by = scale_of(planes, scale);
  float* const to = rows_of(planes, out, planes.places);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  normalise_relu6(planes, by, to, threads, silent);
}

void normalise_backward(const Array2<float>& values, const Array2<float>& scale, const Array2<float>& gradient,
                        const Written2& by_value, const Written2& by_scale, int threads) {
  const Planes planes = planes_of(values);
  const Scale by = scale_of(planes, scale);
  const float* const from = rows_of(planes, gradient, planes.places);
  float* const to = rows_of(planes, by_value, planes.places);
  const ScaleGradients out = scale_gradients_of(planes, by_scale);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  normalise_relu6_backward(planes, by, from, to, out, threads, silent);
}

// Maps of so many channels, as large as an array (count, height, width, any).
MapShape shape_of(const Array4<const float>& values, std::size_t channels, std::size_t stride) {
  const MapShape maps{values.shape(0), values.shape(1), values.shape(2), channels, stride};
  require(maps.count >= 1 && maps.height >= 1 && maps.width >= 1 && maps.channels >= 1, "maps: there are none");
  require(maps.height <= max_side && maps.width <= max_side, "maps: a side is longer than 2^24");
  require(stride == 1 || stride == 2, "stride: neither 1 nor 2");
  return maps;
}

Maps maps_of(const Array4<const float>& values, std::size_t stride) {
  require(values.shape(3) % channels_in == 0, "maps: their channels are no multiple of 16");
  return {shape_of(values, values.shape(3), stride), values.data()};
}

// The values of an array (count, height, width, channels).
template <class T>
T* of_shape(const Array4<T>& array, const MapShape& maps, std::size_t height, std::size_t width) {
  require(array.shape(0) == maps.count && array.shape(1) == height && array.shape(2) == width &&
              array.shape(3) == maps.channels,
          "not of the shape that fits the maps");
  return array.data();
}

// What tables by channel are held against.
Planes channels_of(const MapShape& maps) { return {nullptr, 1, maps.channels}; }

void depthwise_maps(const Array4<const float>& values, const Array2<float>& scale, const Array2<float>& filters,
                    std::size_t stride, const Array4<float>& out, const Written2& moments, int threads) {
  const Maps maps = maps_of(values, stride);
  const Scale by = scale_of(channels_of(maps), scale);
  const float* const taps = rows_of(channels_of(maps), filters, 9);
  float* const to = of_shape(out, maps, maps.filtered_height(), maps.filtered_width());
  const Moments of_out = moments_in(channels_of(maps), moments);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  depthwise(maps, by, taps, to, of_out, threads, silent);
}

void depthwise_maps_backward(const Array4<const float>& values, const Array2<float>& scale,
                             const Array2<float>& filters, std::size_t stride, const Array4<const float>& filtered,
                             const Array2<float>& filtered_scale, const Array4<const float>& gradient,
                             const Array4<float>& by_maps, const Written2& by_filters, const Written2& by_scale,
                             const Written2& by_filtered_scale, int threads) {
  const Maps maps = maps_of(values, stride);
  const Scale by = scale_of(channels_of(maps), scale);
  const float* const taps = rows_of(channels_of(maps), filters, 9);
  const float* const from = of_shape(gradient, maps, maps.filtered_height(), maps.filtered_width());
  const Filtered after{of_shape(filtered, maps, maps.filtered_height(), maps.filtered_width()),
                       scale_of(channels_of(maps), filtered_scale)};
  const DepthwiseGradients out{of_shape(by_maps, maps, maps.height, maps.width),
                               rows_of(channels_of(maps), by_filters, 9),
                               scale_gradients_of(channels_of(maps), by_scale),
                               scale_gradients_of(channels_of(maps), by_filtered_scale)};
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  depthwise_backward(maps, by, taps, after, from, out, threads, silent);
}

// Images whose maps come by weights (inputs, channels), of a kernel of 1 or 3, at every `stride`-th place.
Expansion expansion_of(const Array4<const float>& images, const Array2<float>& weights, std::size_t stride) {
  const std::size_t inputs = weights.shape(0), channels = images.shape(3);
  require(inputs >= 1 && (inputs == channels || inputs == 9 * channels), "weights: not a row an input");
  const std::size_t kernel = inputs == channels ? 1 : 3;
  require(stride == 1 || (kernel == 3 && stride == 2), "stride: not one of the kernel");
  return {images.data(), images.shape(1), images.shape(2), channels, kernel, stride, weights.data()};
}

// The maps that come of them, as large as the kernel sees places, which filters see at every `stride`-th place.
MapShape expanded_shape(const Array4<const float>& images, const Expansion& expansion, const Array2<float>& weights,
                        std::size_t stride) {
  require(weights.shape(1) % channels_in == 0, "weights: their channels are no multiple of 16");
  MapShape maps = shape_of(images, weights.shape(1), expansion.stride);
  maps = {maps.count, maps.filtered_height(), maps.filtered_width(), maps.channels, stride};
  require(stride == 1 || stride == 2, "stride: neither 1 nor 2");
  return maps;
}

template <class T>
using Doubles = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <class T>
InputMoments<T> input_moments_of(const Doubles<T>& table, const Array2<float>& weights) {
  require(table.shape(0) == weights.shape(0) && table.shape(1) == weights.shape(1) + 1,
          "moments: not of the shape that fits the weights");
  return {table.data(), weights.shape(1)};
}

void expanded_moments_of(const Array4<const float>& images, const Array2<float>& weights, std::size_t expand_stride,
                         const Doubles<double>& inputs, const Written2& out, int threads) {
  const Expansion expansion = expansion_of(images, weights, expand_stride);
  const MapShape maps = expanded_shape(images, expansion, weights, 1);
  const InputMoments<double> moments = input_moments_of(inputs, weights);
  const Moments to = moments_in(channels_of(maps), out);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  expanded_moments(expansion, maps, moments, to, threads, silent);
}

void expanded_depthwise_maps(const Array4<const float>& images, const Array2<float>& weights,
                             std::size_t expand_stride, const Array2<float>& scale, const Array2<float>& filters,
                             std::size_t stride, const Array4<float>& out, const Written2& moments, int threads) {
  const Expansion expansion = expansion_of(images, weights, expand_stride);
  const MapShape maps = expanded_shape(images, expansion, weights, stride);
  const Scale by = scale_of(channels_of(maps), scale);
  const float* const taps = rows_of(channels_of(maps), filters, 9);
  float* const to = of_shape(out, maps, maps.filtered_height(), maps.filtered_width());
  const Moments of_out = moments_in(channels_of(maps), moments);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  expanded_depthwise(expansion, maps, by, taps, to, of_out, threads, silent);
}

// What projects maps of so many channels (outputs, channels).
Projection projection_of(const Planes& channels, const Array2<float>& weights) {
  require(weights.shape(0) >= 1, "projection: without outputs");
  return {weights.shape(0), rows_of(channels, weights, weights.shape(0))};
}

void normalise_project_rows(const Array2<float>& values, const Array2<float>& scale, const Array2<float>& projection,
                            const Written2& out, int threads) {
  const Planes planes = planes_of(values);
  const Scale by = scale_of(planes, scale);
  const Projection to = projection_of(planes, projection);
  require(out.shape(0) == planes.places && out.shape(1) == to.outputs, "out: not of the shape that fits the values");
  float* const rows = out.data();
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  normalise_project(planes, by, to, rows, threads, silent);
}

void bottleneck_maps_backward(const Array4<const float>& images, const Array2<float>& weights,
                              std::size_t expand_stride, const Doubles<const double>& inputs,
                              const Array2<float>& scale, const Array2<float>& filters, std::size_t stride,
                              const Array4<const float>& filtered, const Array2<float>& filtered_scale,
                              const Array2<float>& projection,
                              const Array4<const float>& gradient, const std::optional<Array4<float>>& by_images,
                              const Written2& by_weights, const Written2& by_filters, const Written2& by_projection,
                              const Written2& by_scale, const Written2& by_filtered_scale, int threads) {
  const Expansion expansion = expansion_of(images, weights, expand_stride);
  const MapShape maps = expanded_shape(images, expansion, weights, stride);
  const Planes channels = channels_of(maps);
  const InputMoments<const double> moments = input_moments_of(inputs, weights);
  const Scale by = scale_of(channels, scale);
  const float* const taps = rows_of(channels, filters, 9);
  const Filtered after{of_shape(filtered, maps, maps.filtered_height(), maps.filtered_width()),
                       scale_of(channels, filtered_scale)};
  const Projection to = projection_of(channels, projection);
  MapShape few = maps;
  few.channels = to.outputs;
  const float* const from = of_shape(gradient, few, maps.filtered_height(), maps.filtered_width());
  require(!by_images || expansion.kernel == 1, "images: no gradient comes to them through a kernel of 3");
  few.channels = expansion.channels;
  const BottleneckGradients out{by_images ? of_shape(*by_images, few, maps.height, maps.width) : nullptr,
                                rows_of(channels, by_weights, expansion.inputs()),
                                rows_of(channels, by_filters, 9),
                                rows_of(channels, by_projection, to.outputs),
                                scale_gradients_of(channels, by_scale),
                                scale_gradients_of(channels, by_filtered_scale)};
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  bottleneck_backward(expansion, moments, maps, by, taps, after, to, from, out, threads, silent);
}

// A matrix as it lies, or turned.
Factor factor_of(const Array2<float>& values, bool turned) {
  const std::size_t rows = values.shape(0), columns = values.shape(1);
  if (turned) return {values.data(), columns, rows, 1, columns};
  return {values.data(), rows, columns, columns, 1};
}

void product_of(const Array2<float>& a, const Array2<float>& b, bool turned_a, bool turned_b, const Written2& out,
                int threads) {
  const Factor left = factor_of(a, turned_a), right = factor_of(b, turned_b);
  const std::size_t columns = right.inner;
  require(left.inner == right.rows && left.inner >= 1, "a, b: not of shapes that fit");
  require(out.shape(0) == left.rows && out.shape(1) == columns, "out: not of the shape of the product");
  require(columns % channels_in == 0, "out: its columns are no multiple of 16");
  float* const to = out.data();
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  if (!turned_b) return product(left, right.values, columns, to, threads, silent);
  const Aligned<float> lines = room<float>(right.rows * columns);
  transpose(right.values, columns, right.rows, columns, lines.get(), threads, silent);
  product(left, lines.get(), columns, to, threads, silent);
}

// Of any shape.
template <class T>
using Array = nb::ndarray<T, nb::c_contig, nb::device::cpu>;

void adadelta_step(const Array<float>& parameters, const Array<const float>& gradients, const Array<float>& squares,
                   const Array<float>& steps, float rate, float decay, float epsilon, float weight_decay,
                   int threads) {
  const std::size_t size = parameters.size();
  require(gradients.size() == size && squares.size() == size && steps.size() == size, "not as many as parameters");
  const Learned learned{parameters.data(), gradients.data(), squares.data(), steps.data(), size};
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  adadelta(learned, {rate, decay, epsilon, weight_decay}, threads, silent);
}

}  // namespace

void bind_layers(nb::module_& m) {
  m.def("moments", moments_of, nb::arg("values").noconvert(), nb::arg("out").noconvert(), "threads"_a);
  m.def("normalise_relu6", normalise, nb::arg("values").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("out").noconvert(), "threads"_a);
  m.def("normalise_relu6_backward", normalise_backward, nb::arg("values").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("gradient").noconvert(), nb::arg("by_value").noconvert(), nb::arg("by_scale").noconvert(),
        "threads"_a);
  m.def("depthwise", depthwise_maps, nb::arg("maps").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("filters").noconvert(), "stride"_a, nb::arg("out").noconvert(), nb::arg("moments").noconvert(),
        "threads"_a);
  m.def("depthwise_backward", depthwise_maps_backward, nb::arg("maps").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("filters").noconvert(), "stride"_a, nb::arg("filtered").noconvert(),
        nb::arg("filtered_scale").noconvert(), nb::arg("gradient").noconvert(), nb::arg("by_maps").noconvert(),
        nb::arg("by_filters").noconvert(), nb::arg("by_scale").noconvert(), nb::arg("by_filtered_scale").noconvert(),
        "threads"_a);
  m.def("expanded_moments", expanded_moments_of, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        "expand_stride"_a, nb::arg("inputs").noconvert(), nb::arg("out").noconvert(), "threads"_a);
  m.def("expanded_depthwise", expanded_depthwise_maps, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        "expand_stride"_a, nb::arg("scale").noconvert(), nb::arg("filters").noconvert(), "stride"_a,
        nb::arg("out").noconvert(), nb::arg("moments").noconvert(), "threads"_a);
  m.def("normalise_project", normalise_project_rows, nb::arg("values").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("projection").noconvert(), nb::arg("out").noconvert(), "threads"_a);
  m.def("bottleneck_backward", bottleneck_maps_backward, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        "expand_stride"_a, nb::arg("inputs").noconvert(), nb::arg("scale").noconvert(), nb::arg("filters").noconvert(),
        "stride"_a, nb::arg("filtered").noconvert(), nb::arg("filtered_scale").noconvert(),
        nb::arg("projection").noconvert(), nb::arg("gradient").noconvert(), nb::arg("by_images").noconvert().none(),
        nb::arg("by_weights").noconvert(), nb::arg("by_filters").noconvert(), nb::arg("by_projection").noconvert(),
        nb::arg("by_scale").noconvert(), nb::arg("by_filtered_scale").noconvert(), "threads"_a);
  m.def("product", product_of, nb::arg("a").noconvert(), nb::arg("b").noconvert(), "turned_a"_a, "turned_b"_a,
        nb::arg("out").noconvert(), "threads"_a);
  m.def("adadelta", adadelta_step, nb::arg("parameters").noconvert(), nb::arg("gradients").noconvert(),
        nb::arg("squares").noconvert(), nb::arg("steps").noconvert(), "rate"_a, "decay"_a, "epsilon"_a,
        "weight_decay"_a, "threads"_a);
}

}  // namespace facetools
