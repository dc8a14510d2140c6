// The part of the module facetools._core that learns: its faces are facetools/batch_norm.py, facetools/bottleneck.py,
// facetools/products.py and facetools/adadelta.py.
#include "bind.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <vector>

#include "adadelta.hpp"
#include "anew.hpp"
#include "batch_norm.hpp"
#include "kept.hpp"
#include "product.hpp"
#include "projection.hpp"
#include "tensor.hpp"

namespace facetools {

namespace {

// Places of channels, which are the last side, of as many sides as there are; or weights, of which the first side is
// that of what they make.
using Read = Tensor<const float>;
using Written = Tensor<float>;
using Table = Tensor<const float, 2>;

template <class Array>
std::size_t places_of(const Array& values) {
  return values.last() == 0 ? 0 : values.size() / values.last();
}

// Of each thing that they make.
template <class Array>
std::size_t inputs_of(const Array& weights) {
  return weights.shape(0) == 0 ? 0 : weights.size() / weights.shape(0);
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

// Weights by which so many things are made of so many others.
template <class Array>
auto* weights_of(std::size_t made, std::size_t of, const Array& weights) {
  require(weights.shape(0) == made && inputs_of(weights) == of, "weights: not of the shape that fits");
  return weights.data();
}

// Filters of 3 x 3 of so many channels, nine values each.
template <class Array>
auto* filters_of(std::size_t channels, const Array& weights) {
  require(weights.shape(0) == channels && inputs_of(weights) == 9, "filters: not nine values a channel");
  return weights.data();
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

// Maps with which the core computes.
MapShape checked(const MapShape& maps) {
  require(maps.places() >= 1 && maps.channels >= 1, "maps: there are none");
  require(maps.height <= max_side && maps.width <= max_side, "maps: a side is longer than 2^24");
  require(maps.stride == 1 || maps.stride == 2, "stride: neither 1 nor 2");
  return maps;
}

// Maps of so many channels, as large as an array (count, height, width, any).
MapShape shape_of(const Tensor<const float, 4>& values, std::size_t channels, std::size_t stride) {
  return checked({values.shape(0), values.shape(1), values.shape(2), channels, stride});
}

// What tables by channel are held against.
Planes channels_of(const MapShape& maps) { return {nullptr, 1, maps.channels}; }

// Maps whose channels lie together in groups: (groups, count, height, width, channels of a group).
template <class T>
Grouped grouped_of(const Tensor<T, 5>& maps, std::size_t stride) {
  const std::size_t groups = maps.shape(0), group = maps.shape(4);
  const MapShape all = checked({maps.shape(1), maps.shape(2), maps.shape(3), groups * group, stride});
  require(group % channels_in == 0, "maps: their channels are no multiple of 16");
  return {all, group};
}

// Maps by groups as large as those in which what filters make of them lies.
template <class T>
Grouped grouped_as(const MapShape& maps, const Tensor<T, 5>& filtered) {
  const std::size_t group = filtered.shape(4);
  require(group >= 1 && group % channels_in == 0 && maps.channels % group == 0, "maps: not of whole groups of channels");
  return {maps, group};
}

// The values of what filters make of them.
template <class T>
T* filtered_of(const Tensor<T, 5>& array, const Grouped& maps) {
  require(array.shape(0) == maps.groups() && array.shape(1) == maps.all.count &&
              array.shape(2) == maps.all.filtered_height() && array.shape(3) == maps.all.filtered_width() &&
              array.shape(4) == maps.group,
          "not of the shape that fits the maps");
  return array.data();
}

// Images (places, inputs) whose maps come by weights (channels, inputs).
Factor images_of(const Read& images, const Read& weights, const Grouped& maps) {
  const std::size_t inputs = images.last(), places = places_of(images);
  require(inputs >= 1 && places == maps.all.places(), "images: not as many places as maps");
  weights_of(maps.all.channels, inputs, weights);
  return {images.data(), places, inputs, inputs, 1};
}

void expand_images(const Read& images, const Read& weights, const Tensor<float, 5>& out, const Written& moments,
                   int threads) {
  const Grouped maps = grouped_of(out, 1);
  const Factor from = images_of(images, weights, maps);
  const Moments of_out = moments_in(channels_of(maps.all), moments);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  expand(from, weights.data(), maps, out.data(), of_out, threads, silent);
}

void depthwise_maps(const Tensor<const float, 5>& values, const Read& scale, const Read& filters, std::size_t stride,
                    const Tensor<float, 5>& out, const Written& moments, int threads) {
  const Grouped maps = grouped_of(values, stride);
  const Scale by = scale_of(channels_of(maps.all), scale);
  const float* const nine = filters_of(maps.all.channels, filters);
  float* const to = filtered_of(out, maps);
  const Moments of_out = moments_in(channels_of(maps.all), moments);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  depthwise(maps, values.data(), by, nine, to, of_out, threads, silent);
}

// Images whose maps come by weights (inputs, channels), of a kernel of 1 or 3, at every `stride`-th place.
Expansion expansion_of(const Tensor<const float, 4>& images, const Table& weights, std::size_t stride) {
  const std::size_t inputs = weights.shape(0), channels = images.shape(3);
  require(inputs >= 1 && (inputs == channels || inputs == 9 * channels), "weights: not a row an input");
  const std::size_t kernel = inputs == channels ? 1 : 3;
  require(stride == 1 || (kernel == 3 && stride == 2), "stride: not one of the kernel");
  return {images.data(), images.shape(1), images.shape(2), channels, kernel, stride, weights.data()};
}

// The maps that come of them, as large as the kernel sees places, which filters see at every `stride`-th place.
MapShape expanded_shape(const Tensor<const float, 4>& images, const Expansion& expansion, const Table& weights,
                        std::size_t stride) {
  require(weights.shape(1) % channels_in == 0, "weights: their channels are no multiple of 16");
  const MapShape seen = shape_of(images, weights.shape(1), expansion.stride);
  return checked({seen.count, seen.filtered_height(), seen.filtered_width(), seen.channels, stride});
}

template <class T>
InputMoments<T> input_moments_of(const Tensor<T, 2>& table, const Table& weights) {
  require(table.shape(0) == weights.shape(0) && table.shape(1) == weights.shape(1) + 1,
          "moments: not of the shape that fits the weights");
  return {table.data(), weights.shape(1)};
}

void expanded_moments_of(const Tensor<const float, 4>& images, const Table& weights, std::size_t expand_stride,
                         const Tensor<double, 2>& inputs, const Written& out, int threads) {
  const Expansion expansion = expansion_of(images, weights, expand_stride);
  const MapShape maps = expanded_shape(images, expansion, weights, 1);
  const InputMoments<double> moments = input_moments_of(inputs, weights);
  const Moments to = moments_in(channels_of(maps), out);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  expanded_moments(expansion, maps, moments, to, threads, silent);
}

void expanded_depthwise_maps(const Tensor<const float, 4>& images, const Table& weights, std::size_t expand_stride,
                             const Read& scale, const Read& filters, std::size_t stride, const Tensor<float, 5>& out,
                             const Written& moments, int threads) {
  const Expansion expansion = expansion_of(images, weights, expand_stride);
  const Grouped maps = grouped_as(expanded_shape(images, expansion, weights, stride), out);
  const Planes channels = channels_of(maps.all);
  const Scale by = scale_of(channels, scale);
  const float* const nine = filters_of(channels.channels, filters);
  float* const to = filtered_of(out, maps);
  const Moments of_out = moments_in(channels, moments);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  expanded_depthwise(expansion, maps, by, nine, to, of_out, threads, silent);
}

// What projects maps of so many channels (outputs, channels).
Projection projection_of(const Planes& channels, const Read& weights) {
  require(weights.shape(0) >= 1, "projection: without outputs");
  return {weights.shape(0), weights_of(weights.shape(0), channels.channels, weights)};
}

// Values (groups, places, channels of a group), of any number of sides of places.
void normalise_project_rows(const Read& values, const Read& scale, const Read& projection, const Written& out,
                            int threads) {
  const std::size_t group = values.last(), channels = values.shape(0) * group;
  const std::size_t places = channels == 0 ? 0 : values.size() / channels;
  const Planes planes{values.data(), places, channels};
  require(places >= 1, "values: there are none");
  require(group % channels_in == 0, "values: their channels are no multiple of 16");
  const Scale by = scale_of(planes, scale);
  const Projection to = projection_of(planes, projection);
  float* const rows = rows_of({nullptr, places, to.outputs}, out, places);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  normalise_project(planes, group, by, to, rows, threads, silent);
}

// But those by the images and by what expands them.
BottleneckGradients gradients_of(const Planes& channels, const Projection& projection, const Written& by_filters,
                                 const Written& by_projection, const Written& by_scale,
                                 const Written& by_filtered_scale) {
  return {nullptr,
          nullptr,
          nullptr,
          filters_of(channels.channels, by_filters),
          weights_of(projection.outputs, channels.channels, by_projection),
          scale_gradients_of(channels, by_scale),
          scale_gradients_of(channels, by_filtered_scale)};
}

void kept_maps_backward(const Read& images, const Read& weights, const Tensor<const float, 5>& values,
                        const Read& scale, const Read& filters, std::size_t stride,
                        const Tensor<const float, 5>& filtered, const Read& filtered_scale, const Read& projection,
                        const Read& gradient, const std::optional<Read>& besides,
                        const std::optional<Written>& by_images, const Written& by_weights,
                        const Written& by_filters, const Written& by_projection, const Written& by_scale,
                        const Written& by_filtered_scale, int threads) {
  const Grouped maps = grouped_of(values, stride);
  const Planes channels = channels_of(maps.all);
  const Factor from = images_of(images, weights, maps);
  require(from.inner % channels_in == 0, "images: their channels are no multiple of 16");
  const Scale by = scale_of(channels, scale);
  const float* const nine = filters_of(channels.channels, filters);
  const Filtered after{filtered_of(filtered, maps), scale_of(channels, filtered_scale)};
  const Projection to = projection_of(channels, projection);
  const float* const outer = rows_of({nullptr, 1, to.outputs}, gradient, maps.all.filtered_places());
  const Planes inputs{nullptr, 1, from.inner};
  BottleneckGradients out = gradients_of(channels, to, by_filters, by_projection, by_scale, by_filtered_scale);
  out.by_images = by_images ? rows_of(inputs, *by_images, from.rows) : nullptr;
  out.besides = besides ? rows_of(inputs, *besides, from.rows) : nullptr;
  out.by_weights = weights_of(maps.all.channels, from.inner, by_weights);
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  kept_backward(from, weights.data(), maps, values.data(), by, nine, after, to, outer, out, threads, silent);
}

void anew_maps_backward(const Tensor<const float, 4>& images, const Table& weights, std::size_t expand_stride,
                        const Tensor<const double, 2>& inputs, const Read& scale, const Read& filters,
                        std::size_t stride, const Tensor<const float, 5>& filtered, const Read& filtered_scale,
                        const Read& projection, const Read& gradient, const std::optional<Read>& besides,
                        const std::optional<Written>& by_images, const Written& by_weights, const Written& by_filters,
                        const Written& by_projection, const Written& by_scale, const Written& by_filtered_scale,
                        int threads) {
  const Expansion expansion = expansion_of(images, weights, expand_stride);
  const Grouped maps = grouped_as(expanded_shape(images, expansion, weights, stride), filtered);
  const Planes channels = channels_of(maps.all);
  const InputMoments<const double> moments = input_moments_of(inputs, weights);
  const Scale by = scale_of(channels, scale);
  const float* const nine = filters_of(channels.channels, filters);
  const Filtered after{filtered_of(filtered, maps), scale_of(channels, filtered_scale)};
  const Projection to = projection_of(channels, projection);
  const float* const outer = rows_of({nullptr, 1, to.outputs}, gradient, maps.all.filtered_places());
  require(!by_images || expansion.kernel == 1, "images: no gradient comes to them through a kernel of 3");
  const Planes of_images{nullptr, 1, expansion.channels};
  BottleneckGradients out = gradients_of(channels, to, by_filters, by_projection, by_scale, by_filtered_scale);
  out.by_images = by_images ? rows_of(of_images, *by_images, maps.all.places()) : nullptr;
  out.besides = besides ? rows_of(of_images, *besides, maps.all.places()) : nullptr;
  out.by_weights = rows_of(channels, by_weights, expansion.inputs());
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  anew_backward(expansion, moments, maps, by, nine, after, to, outer, out, threads, silent);
}

// A matrix as it lies, or turned.
Factor factor_of(const Table& values, bool turned) {
  const std::size_t rows = values.shape(0), columns = values.shape(1);
  if (turned) return {values.data(), columns, rows, 1, columns};
  return {values.data(), rows, columns, columns, 1};
}

void product_of(const Table& a, const Table& b, bool turned_a, bool turned_b, const Tensor<float, 2>& out,
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
  m.def("expand", expand_images, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        nb::arg("out").noconvert(), nb::arg("moments").noconvert(), "threads"_a);
  m.def("depthwise", depthwise_maps, nb::arg("maps").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("filters").noconvert(), "stride"_a, nb::arg("out").noconvert(), nb::arg("moments").noconvert(),
        "threads"_a);
  m.def("kept_backward", kept_maps_backward, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        nb::arg("maps").noconvert(), nb::arg("scale").noconvert(), nb::arg("filters").noconvert(), "stride"_a,
        nb::arg("filtered").noconvert(), nb::arg("filtered_scale").noconvert(), nb::arg("projection").noconvert(),
        nb::arg("gradient").noconvert(), nb::arg("besides").noconvert().none(),
        nb::arg("by_images").noconvert().none(), nb::arg("by_weights").noconvert(),
        nb::arg("by_filters").noconvert(), nb::arg("by_projection").noconvert(), nb::arg("by_scale").noconvert(),
        nb::arg("by_filtered_scale").noconvert(), "threads"_a);
  m.def("expanded_moments", expanded_moments_of, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        "expand_stride"_a, nb::arg("inputs").noconvert(), nb::arg("out").noconvert(), "threads"_a);
  m.def("expanded_depthwise", expanded_depthwise_maps, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        "expand_stride"_a, nb::arg("scale").noconvert(), nb::arg("filters").noconvert(), "stride"_a,
        nb::arg("out").noconvert(), nb::arg("moments").noconvert(), "threads"_a);
  m.def("normalise_project", normalise_project_rows, nb::arg("values").noconvert(), nb::arg("scale").noconvert(),
        nb::arg("projection").noconvert(), nb::arg("out").noconvert(), "threads"_a);
  m.def("anew_backward", anew_maps_backward, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        "expand_stride"_a, nb::arg("inputs").noconvert(), nb::arg("scale").noconvert(), nb::arg("filters").noconvert(),
        "stride"_a, nb::arg("filtered").noconvert(), nb::arg("filtered_scale").noconvert(),
        nb::arg("projection").noconvert(), nb::arg("gradient").noconvert(), nb::arg("besides").noconvert().none(),
        nb::arg("by_images").noconvert().none(), nb::arg("by_weights").noconvert(),
        nb::arg("by_filters").noconvert(), nb::arg("by_projection").noconvert(), nb::arg("by_scale").noconvert(),
        nb::arg("by_filtered_scale").noconvert(), "threads"_a);
  m.def("product", product_of, nb::arg("a").noconvert(), nb::arg("b").noconvert(), "turned_a"_a, "turned_b"_a,
        nb::arg("out").noconvert(), "threads"_a);
  m.def("adadelta", adadelta_step, nb::arg("parameters").noconvert(), nb::arg("gradients").noconvert(),
        nb::arg("squares").noconvert(), nb::arg("steps").noconvert(), nb::arg("taken").noconvert(), "rate"_a, "decay"_a,
        "epsilon"_a, "weight_decay"_a, "threads"_a);
}

}  // namespace facetools
