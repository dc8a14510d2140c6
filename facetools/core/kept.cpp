#include "kept.hpp"

#include <algorithm>
#include <vector>

#include "maps.hpp"
#include "product.hpp"
#include "projection.hpp"

namespace facetools {

namespace {

const Layers& layers() { return kernels().layers; }

// Calls body(first channel) for each group.
template <class Body>
void each_group(const Grouped& maps, int threads, Progress& progress, const Body& body) {
  parallel_for(threads, maps.groups(), progress, [&](std::size_t number) { body(number * maps.group); });
}

// Rows of maps that lie in memory and are normalised when they are read.
class Stored {
 public:
  Stored(const MapShape& maps, const float* values, const Affine& by) : maps_(maps), values_(values), by_(by) {}

  void read(std::size_t map, std::size_t row, float* out) const {
    layers().clamp(by_, values_ + at(map, row), maps_.width, maps_.channels, false, out);
  }

 protected:
  std::size_t at(std::size_t map, std::size_t row) const {
    return (map * maps_.height + row) * maps_.width * maps_.channels;
  }

  const MapShape& maps_;
  const float* values_;
  Affine by_;
};

// The same on the way back, where what passes of the gradients by them is brought to `out`, and summed up by channel,
// alone and times the centred values.
class StoredBack : public Stored {
 public:
  StoredBack(const MapShape& maps, const float* values, const Affine& by, float* out)
      : Stored(maps, values, by), out_(out), passed_(2 * maps.channels, short_sum) {}

  void take(std::size_t map, std::size_t row, const float*, float* gradient) {
    float* const sum = passed_.partial.get();
    layers().take_passed(by_, values_ + at(map, row), gradient, maps_.width, maps_.channels, out_ + at(map, row), sum,
                         sum + maps_.channels);
    passed_.added(maps_.width);
  }

  std::vector<double> sums() { return passed_.flushed(); }

 private:
  float* out_;
  Sums passed_;
};

}  // namespace

void expand(const Factor& images, const float* weights, const Grouped& maps, const Products& products, float* out,
            const Moments& moments, int threads, Progress& progress) {
  const std::size_t inputs = images.inner, group = maps.group;
  const Ready rows(products, images, threads);
  each_group(maps, threads, progress, [&](std::size_t first) {
    Progress silent(nullptr);
    const Aligned<float> turned = room<float>(inputs * group);
    transpose(weights + first * inputs, group, inputs, group, turned.get(), 1, silent);
    const Ready columns(products, Columns{turned.get(), inputs, group, group});
    float* const maps_of = out + first * images.rows;
    Sums sums(2 * group, short_sum);
    float* const sum = sums.partial.get();
    for (std::size_t from = 0; from < images.rows; from += at_a_time) {
      const std::size_t count = std::min(at_a_time, images.rows - from);
      float* const to = maps_of + from * group;
      products.multiply(rows->lines_from(from, count), *columns, false, to);
      // Of what lies between a value and the first of its channel, so that a mean far from 0 costs no digits.
      layers().gather(to, count, group, {maps_of, sum, sum + group});
      sums.added(count);
    }
    moments.from(first).take(sums.flushed(), maps_of, images.rows);
  });
}

void depthwise(const Grouped& maps, const float* values, const Scale& scale, const float* filters, float* out,
               const Moments& moments, int threads, Progress& progress) {
  const MapShape one = maps.one();
  each_group(maps, threads, progress, [&](std::size_t first) {
    Progress silent(nullptr);
    const Normalisation by(scale.from(first), maps.group);
    const Aligned<float> taps = taps_of(filters + 9 * first, maps.group);
    const auto rows = [&] { return Stored(one, values + first * one.places(), by.affine()); };
    filter_maps({one, taps.get()}, rows, out + first * one.filtered_places(), moments.from(first), 1, silent);
  });
}

void kept_backward(const Factor& images, const float* weights, const Grouped& maps, const float* values,
                   const Scale& scale, const float* filters, const Filtered& filtered, const Projection& projection,
                   const float* gradient, const BottleneckGradients& out, int threads, Progress& progress) {
  const MapShape one = maps.one();
  const std::size_t channels = maps.all.channels, group = maps.group, outputs = projection.outputs;
  const std::size_t inputs = images.inner, places = one.filtered_places(), width = one.filtered_width();
  const Products& products = projection.products;
  const Aligned<float> by_values = room<float>(one.places() * channels);
  const ProjectedGradient outer({gradient, places, outputs, outputs, 1}, products, threads);
  const Ready of_images(products, Columns{images.values, images.rows, inputs, inputs}, threads);
  each_group(maps, threads, progress, [&](std::size_t first) {
    Progress silent(nullptr);
    const Aligned<float> weights_of = columns_of(projection.weights, outputs, channels, first, group);
    const Scale after = filtered.scale.from(first);
    const Projected projected({filtered.values + first * places, places, group}, after,
                              {outputs, weights_of.get(), products});
    const Aligned<float> inner = room<float>(places * group);
    Projected::Found found(outputs, group);
    for (std::size_t from = 0; from < places; from += at_a_time) {
      const std::size_t count = std::min(at_a_time, places - from);
      projected.spread(outer, from, count, inner.get() + from * group);
      projected.add(outer, from, count, inner.get() + from * group, found);
    }
    const std::vector<double> sums = found.sums();
    put_columns(sums.data() + 2 * group, outputs, channels, first, group, out.by_projection);
    const Drag after_drag(after, places, sums.data(), sums.data() + group, group, out.by_filtered_scale.from(first));

    const Normalisation by(scale.from(first), group);
    const Aligned<float> taps = taps_of(filters + 9 * first, group);
    const Planes planes{values + first * one.places(), one.places(), group};
    float* const by_value = by_values.get() + first * one.places();
    const std::vector<double> back = descend_maps(
        {one, taps.get()}, [&] { return StoredBack(one, planes.values, by.affine(), by_value); },
        [&](std::size_t row, float* to) {
          projected.descend(after_drag, row * width, width, inner.get() + row * width * group, to);
        },
        1, silent);
    put_taps(back.data(), group, out.by_filters + 9 * first);
    const double* const passed = back.data() + 9 * group;
    const Drag drag(scale.from(first), planes.places, passed, passed + group, group, out.by_scale.from(first));
    descend(planes, scale.from(first), drag, by_value, by_value, 1, silent);
    product({by_value, group, planes.places, 1, group}, *of_images, products, out.by_weights + first * inputs, 1,
            silent);
  });
  if (out.by_images == nullptr) return;
  const Ready of_weights(products, Columns{weights, channels, inputs, inputs}, threads);
  parallel_ranges(threads, one.places(), at_a_time, progress, [&](std::size_t from, std::size_t end) {
    for (std::size_t first = 0; first < channels; first += group)
      products.multiply({by_values.get() + first * one.places() + from * group, end - from, group, group, 1},
                        of_weights->terms_from(first, group), first > 0, out.by_images + from * inputs);
    if (out.besides != nullptr)
      for (std::size_t i = from * inputs; i < end * inputs; ++i) out.by_images[i] += out.besides[i];
  });
}

}  // namespace facetools
