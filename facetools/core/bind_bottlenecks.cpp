// The part of the module facetools._core that leads through linear bottlenecks: its face is facetools/bottlenecks.py.
#include "bind.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "bottlenecks.hpp"
#include "tensor.hpp"

namespace facetools {

namespace {

// Of each bottleneck nine: what expands, filters and projects, with weight and bias of the normalisation after it.
template <class T>
using Weights = std::vector<Tensor<T>>;

// Of each normalisation its moving averages, of the mean and of the variance.
using Averages = std::vector<std::pair<Tensor<float, 1>, Tensor<float, 1>>>;

// How many batches each has learned from.
using Batches = std::vector<Tensor<std::int64_t, 0>>;

// epsilon and momentum of each.
using Numbers = std::vector<std::pair<float, float>>;

// Of each bottleneck the strides of what expands and what filters, and whether images are added to what comes out.
using Steps = std::vector<std::tuple<std::size_t, std::size_t, bool>>;

constexpr std::size_t weights_of_one = 9, norms_of_one = 3;

ImageBatch images_of(const Tensor<const float, 4>& images) {
  require(images.size() >= 1, "images: there are none");
  require(images.shape(1) <= max_side && images.shape(2) <= max_side, "images: a side is longer than 2^24");
  return {images.data(), images.shape(0), images.shape(1), images.shape(2), images.shape(3)};
}

Normalised normalised_of(const Tensor<const float>* three, std::size_t made, std::size_t of) {
  require(three[0].shape(0) == made && three[0].size() == made * of, "weights: not of the shape that fits");
  require(three[1].size() == made && three[2].size() == made, "weights: not one of each channel");
  return {three[0].data(), {three[1].data(), three[2].data(), nullptr, nullptr, 0, 0}};
}

Bottleneck bottleneck_of(const ImageBatch& images, const Tensor<const float>* nine, const Steps::value_type& steps) {
  const auto [expand_stride, stride, residual] = steps;
  const std::size_t channels = nine[0].shape(0), outputs = nine[6].shape(0);
  require(channels >= 1 && channels % channels_in == 0, "weights: their channels are no multiple of 16");
  require(outputs >= 1, "weights: nothing is projected");
  const std::size_t kernel = nine[0].size() == channels * images.channels ? 1 : 3;
  const std::size_t inputs = kernel * kernel * images.channels;
  require(inputs <= few || (kernel == 1 && inputs % channels_in == 0), "weights: of no number of inputs that is known");
  require(expand_stride == 1 || (kernel == 3 && expand_stride == 2), "stride: not one of the kernel");
  require(stride == 1 || stride == 2, "stride: neither 1 nor 2");
  return {kernel,
          expand_stride,
          stride,
          channels,
          outputs,
          residual,
          normalised_of(nine, channels, inputs),
          normalised_of(nine + 3, channels, 9),
          normalised_of(nine + 6, outputs, channels)};
}

// One after another, from such images on.
std::vector<Bottleneck> bottlenecks_of(ImageBatch images, const Weights<const float>& weights, const Steps& steps) {
  require(!steps.empty() && weights.size() == weights_of_one * steps.size(), "weights: not nine a bottleneck");
  std::vector<Bottleneck> all;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Bottleneck by = bottleneck_of(images, &weights[weights_of_one * i], steps[i]);
    require(i == 0 || by.kernel == 1, "weights: no gradient goes through a kernel of 3");
    const ImageBatch next = by.next(images);
    require(!by.residual || next.same_shape(images), "images: not of the shape of what they are added to");
    require(next.places() >= 2, "images: too small");
    require(next.places() % places_of_sixteens(by.outputs) == 0, "images: their places are no multiple of 16");
    all.push_back(by);
    images = next;
  }
  return all;
}

ImageBatch out_of(ImageBatch images, const std::vector<Bottleneck>& all) {
  for (const Bottleneck& by : all) images = by.next(images);
  return images;
}

template <class Array>
auto* values_of(const Array& array, const ImageBatch& shape) {
  require(array.last() == shape.channels && array.size() == shape.places() * shape.channels,
          "not of the shape that fits the images");
  return array.data();
}

void take_averages(std::vector<Bottleneck>& all, const Averages& averages, const Numbers& numbers) {
  const std::size_t norms = norms_of_one * all.size();
  require(averages.size() == norms && numbers.size() == norms, "averages: not three a bottleneck");
  std::size_t number = 0;
  for (Bottleneck& by : all)
    for (BatchNorm* norm : {&by.expand.norm, &by.filters.norm, &by.project.norm}) {
      const std::size_t channels = norm == &by.project.norm ? by.outputs : by.channels;
      const auto& [mean, variance] = averages[number];
      require(mean.size() == channels && variance.size() == channels, "averages: not one of each channel");
      norm->mean = mean.data();
      norm->variance = variance.data();
      std::tie(norm->epsilon, norm->momentum) = numbers[number++];
    }
}

Bottlenecks pass(const Tensor<const float, 4>& images, const Weights<const float>& weights, const Averages& averages,
                 const Batches& batches, const Numbers& numbers, const Steps& steps, bool training, bool rounded,
                 const Tensor<float>& out, int threads) {
  const ImageBatch given = images_of(images);
  std::vector<Bottleneck> all = bottlenecks_of(given, weights, steps);
  take_averages(all, averages, numbers);
  float* const to = values_of(out, out_of(given, all));
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  Bottlenecks passed(given, all, training, rounded, to, threads, silent);
  if (training)
    for (const auto& taken : batches) ++*taken.data();
  return passed;
}

void pass_back(const Bottlenecks& passed, const Tensor<const float, 4>& images, const Weights<const float>& weights,
               const Steps& steps, const Tensor<const float>& gradient, const std::optional<Tensor<float>>& by_images,
               const Weights<float>& found, int threads) {
  const ImageBatch given = images_of(images);
  const std::vector<Bottleneck> all = bottlenecks_of(given, weights, steps);
  require(passed.led(given, all), "not what was passed");
  const float* const outer = values_of(gradient, out_of(given, all));
  float* const inner = by_images ? values_of(*by_images, given) : nullptr;
  require(!by_images || all.front().kernel == 1, "images: no gradient comes to them through a kernel of 3");
  require(found.size() == weights.size(), "gradients: not as many as weights");
  for (std::size_t i = 0; i < found.size(); ++i)
    require(found[i].size() == weights[i].size(), "gradients: not of the size of their weights");
  std::vector<LearnedGradients> to;
  for (const Tensor<float>* nine = found.data(); to.size() < all.size(); nine += weights_of_one) {
    const auto scale = [&](std::size_t at) { return ScaleGradients{nine[at].data(), nine[at + 1].data()}; };
    to.push_back({{nullptr, nullptr, nine[0].data(), nine[3].data(), nine[6].data(), scale(1), scale(4)}, scale(7)});
  }
  Progress silent(nullptr);
  const nb::gil_scoped_release release;
  passed.back(given, all, outer, inner, to, threads, silent);
}

}  // namespace

void bind_bottlenecks(nb::module_& m) {
  nb::class_<Bottlenecks>(m, "Bottlenecks")
      .def("back", pass_back, nb::arg("images").noconvert(), nb::arg("weights").noconvert(), "steps"_a,
           nb::arg("gradient").noconvert(), nb::arg("by_images").noconvert().none(), nb::arg("found").noconvert(),
           "threads"_a);
  m.def("bottlenecks", pass, nb::arg("images").noconvert(), nb::arg("weights").noconvert(),
        nb::arg("averages").noconvert(), nb::arg("batches").noconvert(), "numbers"_a, "steps"_a, "training"_a,
        "rounded"_a, nb::arg("out").noconvert(), "threads"_a);
}

}  // namespace facetools
