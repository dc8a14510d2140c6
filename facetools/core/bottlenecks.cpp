#include "bottlenecks.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "anew.hpp"
#include "kept.hpp"
#include "product.hpp"
#include "projection.hpp"

namespace facetools {

namespace {

// Channels at most that lie together: of maps that are kept, and of those that are made anew.
constexpr std::size_t kept_together = 96, anew_together = 48;

// What lies together comes in so many channels where factors are rounded, of which kernels take as many at a time.
constexpr std::size_t rounded_together = 32;

constexpr Bounds linear{-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()};

std::size_t seen(std::size_t side, std::size_t stride) { return (side - 1) / stride + 1; }

// How many of them lie together: a multiple of `least` that divides them, and no more than `most`.
std::size_t together(std::size_t channels, std::size_t least, std::size_t most) {
  std::size_t group = least;
  for (std::size_t some = least; some <= most; some += least)
    if (channels % some == 0) group = some;
  return group;
}

Grouped grouped(const MapShape& maps, bool anew, std::size_t least, int threads) {
  // Of which each thread takes some: no sum depends on how many lie together.
  const std::size_t shared = maps.channels / (2 * static_cast<std::size_t>(std::max(threads, 1)));
  return {maps, together(maps.channels, least, anew ? anew_together : std::min(kept_together, shared))};
}

// weight, bias, mean and inverse deviation of each channel, a row each.
Scale scale_of(const Aligned<float>& table, std::size_t channels, Bounds bounds) {
  const float* const rows = table.get();
  return {rows, rows + channels, rows + 2 * channels, rows + 3 * channels, bounds};
}

// The same of values of such moments, or, in use, by the moving averages.
Aligned<float> scaling(const BatchNorm& norm, const Moments& moments, std::size_t places, std::size_t channels,
                       bool training) {
  Aligned<float> table = room<float>(4 * channels);
  training ? take_moments(norm, moments, places, channels, table.get()) : take_averages(norm, channels, table.get());
  return table;
}

Expansion expansion_of(const ImageBatch& images, const Bottleneck& by, const Aligned<float>& columns) {
  return {images.values, images.height, images.width, images.channels, by.kernel, by.expand_stride, columns.get()};
}

// Images whose places are expanded each by itself.
Factor rows_of(const ImageBatch& images) {
  return {images.values, images.places(), images.channels, images.channels, 1};
}

}  // namespace

MapShape Bottleneck::maps(const ImageBatch& images) const {
  return {images.count, seen(images.height, expand_stride), seen(images.width, expand_stride), channels, stride};
}

ImageBatch Bottleneck::next(const ImageBatch& images) const {
  const MapShape shape = maps(images);
  return {nullptr, shape.count, shape.filtered_height(), shape.filtered_width(), outputs};
}

Bottlenecks::Passed Bottlenecks::pass(const ImageBatch& images, const Bottleneck& by, bool training, bool rounded,
                                      float* out, int threads, Progress& progress) {
  const MapShape shape = by.maps(images);
  const std::size_t inputs = by.inputs(images), channels = by.channels, outputs = by.outputs;
  const std::size_t places = shape.filtered_places();
  rounded = rounded && inputs >= rounded_together && channels % rounded_together == 0;
  const bool anew = inputs <= few && !rounded;
  Passed made;
  made.images = images;
  made.by = by;
  made.maps = grouped(shape, anew, rounded ? rounded_together : channels_in, threads);
  made.products = &products_of(rounded);
  made.filtered = room<float>(places * channels);
  const Aligned<float> found = room<float>(2 * channels);
  const Moments of_maps{found.get(), found.get() + channels};
  const auto scaled = [&] { return scale_of(made.scale, channels, relu6); };
  if (anew) {
    made.columns = room<float>(inputs * channels);
    transpose(by.expand.weights, channels, inputs, channels, made.columns.get(), threads, progress);
    const Expansion expansion = expansion_of(images, by, made.columns);
    if (training) {
      made.of_inputs = room<double>(inputs * (1 + channels));
      expanded_moments(expansion, shape, {made.of_inputs.get(), channels}, of_maps, threads, progress);
    }
    made.scale = scaling(by.expand.norm, of_maps, shape.places(), channels, training);
    expanded_depthwise(expansion, made.maps, scaled(), by.filters.weights, made.filtered.get(), of_maps, threads,
                       progress);
  } else {
    made.expanded = room<float>(shape.places() * channels);
    expand(rows_of(images), by.expand.weights, made.maps, *made.products, made.expanded.get(), of_maps, threads,
           progress);
    made.scale = scaling(by.expand.norm, of_maps, shape.places(), channels, training);
    depthwise(made.maps, made.expanded.get(), scaled(), by.filters.weights, made.filtered.get(), of_maps, threads,
              progress);
  }
  made.filtered_scale = scaling(by.filters.norm, of_maps, places, channels, training);
  made.projected = room<float>(places * outputs);
  normalise_project({made.filtered.get(), places, channels}, made.maps.group,
                    scale_of(made.filtered_scale, channels, relu6), {outputs, by.project.weights, *made.products},
                    made.projected.get(), threads, progress);
  const Planes projected{made.projected.get(), places, outputs};
  const Aligned<float> of_outputs = room<float>(2 * outputs);
  const Moments of_projected{of_outputs.get(), of_outputs.get() + outputs};
  if (training) moments(projected, of_projected, threads, progress);
  made.projected_scale = scaling(by.project.norm, of_projected, places, outputs, training);
  normalise(projected, scale_of(made.projected_scale, outputs, linear), by.residual ? images.values : nullptr, out,
            threads, progress);
  return made;
}

void Bottlenecks::pass_back(const Passed& passed, const ImageBatch& images, const Bottleneck& by, const float* gradient,
                            float* by_images, const LearnedGradients& out, int threads, Progress& progress) {
  const std::size_t inputs = by.inputs(images), channels = by.channels, outputs = by.outputs;
  const std::size_t places = passed.maps.all.filtered_places();
  const Aligned<float> inner = room<float>(places * outputs);
  normalise_backward({passed.projected.get(), places, outputs}, scale_of(passed.projected_scale, outputs, linear),
                     gradient, inner.get(), out.by_projected_scale, threads, progress);
  BottleneckGradients to = out.layers;
  to.by_images = by_images;
  to.besides = by.residual ? gradient : nullptr;
  const Scale scale = scale_of(passed.scale, channels, relu6);
  const Filtered filtered{passed.filtered.get(), scale_of(passed.filtered_scale, channels, relu6)};
  const Projection projection{outputs, by.project.weights, *passed.products};
  if (passed.expanded) {
    kept_backward(rows_of(images), by.expand.weights, passed.maps, passed.expanded.get(), scale, by.filters.weights,
                  filtered, projection, inner.get(), to, threads, progress);
    return;
  }
  const Aligned<float> by_columns = room<float>(inputs * channels);
  to.by_weights = by_columns.get();
  anew_backward(expansion_of(images, by, passed.columns), {passed.of_inputs.get(), channels}, passed.maps, scale,
                by.filters.weights, filtered, projection, inner.get(), to, threads, progress);
  transpose(by_columns.get(), inputs, channels, inputs, out.layers.by_weights, threads, progress);
}

Bottlenecks::Bottlenecks(const ImageBatch& images, const std::vector<Bottleneck>& all, bool training, bool rounded,
                         float* out, int threads, Progress& progress) {
  ImageBatch given = images;
  for (std::size_t i = 0; i < all.size(); ++i) {
    ImageBatch next = all[i].next(given);
    Aligned<float> made = i + 1 < all.size() ? room<float>(next.places() * next.channels) : nullptr;
    next.values = made ? made.get() : out;
    Passed passed = pass(given, all[i], training, rounded, made ? made.get() : out, threads, progress);
    passed.out = std::move(made);
    // In use the next one alone wants what came out.
    if (!training) passed_.clear();
    passed_.push_back(std::move(passed));
    given = next;
  }
  if (!training) passed_.clear();
}

bool Bottlenecks::led(const ImageBatch& images, const std::vector<Bottleneck>& all) const {
  const auto alike = [](const Bottleneck& a, const Bottleneck& b) {
    return a.kernel == b.kernel && a.expand_stride == b.expand_stride && a.stride == b.stride &&
           a.channels == b.channels && a.outputs == b.outputs && a.residual == b.residual;
  };
  return passed_.size() == all.size() && !all.empty() && passed_.front().images.same_shape(images) &&
         std::equal(all.begin(), all.end(), passed_.begin(),
                    [&](const Bottleneck& by, const Passed& passed) { return alike(by, passed.by); });
}

void Bottlenecks::back(const ImageBatch& images, const std::vector<Bottleneck>& all, const float* gradient,
                       float* by_images, const std::vector<LearnedGradients>& out, int threads,
                       Progress& progress) const {
  Aligned<float> outer;
  for (std::size_t i = all.size(); i-- > 0;) {
    ImageBatch given = i > 0 ? passed_[i].images : images;
    Aligned<float> inner = i > 0 ? room<float>(given.places() * given.channels) : nullptr;
    pass_back(passed_[i], given, all[i], outer ? outer.get() : gradient, inner ? inner.get() : by_images, out[i],
              threads, progress);
    outer = std::move(inner);
  }
}

}  // namespace facetools
