#include "depthwise.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "simd.hpp"

namespace facetools {

namespace {

constexpr std::size_t taps = 9;

const Layers& layers() { return kernels().layers; }

// What all maps have in common.
struct Layer {
  Layer(const Maps& all, const Scale& scale, const float* filters)
      : maps(all),
        by(scale, all.channels),
        strip{filters, all.filtered_width(), all.channels, all.stride},
        row(all.width * all.channels),
        filtered_row(strip.width * all.channels) {}

  Maps maps;
  Normalisation by;
  Strip strip;
  std::size_t row, filtered_row;  // their sizes
};

// The three rows of a map that a row of filters sees, by turns, between two columns of zeros and four. Rows beyond the
// border lie in a place of their own.
class Window {
 public:
  explicit Window(const Maps& maps)
      : height_(static_cast<std::ptrdiff_t>(maps.height)),
        channels_(maps.channels),
        size_((maps.width + 4) * maps.channels),
        values_(4 * size_) {}

  float* row(std::ptrdiff_t row) { return padded(row) + channels_; }

  // What the filters of row `centre` see, from one column before the first.
  std::array<float*, 3> seen(std::ptrdiff_t centre) {
    return {padded(centre - 1), padded(centre), padded(centre + 1)};
  }

  void clear(std::ptrdiff_t row) { std::fill_n(padded(row), size_, 0.0F); }

 private:
  float* padded(std::ptrdiff_t row) {
    const bool inside = row >= 0 && row < height_;
    return values_.data() + (inside ? static_cast<std::size_t>(row) % 3 : 3) * size_;
  }

  std::ptrdiff_t height_;
  std::size_t channels_, size_;
  std::vector<float> values_;
};

// Brings the rows of a map, normalised and kept from 0 to 6, into a window, as filters get down to them.
class Reader {
 public:
  Reader(const Layer& layer, const float* map) : layer_(layer), map_(map) {}

  // Up to row `below`, or to the end.
  void read(std::ptrdiff_t below, Window& window) {
    const Maps& maps = layer_.maps;
    for (; next_ < std::min(below, static_cast<std::ptrdiff_t>(maps.height)); ++next_) {
      const float* const from = map_ + static_cast<std::size_t>(next_) * layer_.row;
      layers().clamp(layer_.by.affine(), from, maps.width, maps.channels, false, window.row(next_));
    }
  }

 private:
  const Layer& layer_;
  const float* map_;
  std::ptrdiff_t next_ = 0;
};

void filter_map(const Layer& layer, const float* map, float* out) {
  Window window(layer.maps);
  Reader reader(layer, map);
  for (std::size_t row = 0; row < layer.maps.filtered_height(); ++row) {
    const auto centre = static_cast<std::ptrdiff_t>(row * layer.maps.stride);
    reader.read(centre + 2, window);
    layers().filter_row(layer.strip, window.seen(centre).data(), out + row * layer.filtered_row);
  }
}

// Sums in double of what is added up in float over some places at a time.
class Sums {
 public:
  explicit Sums(std::size_t size) : partial(size), total(size) {}

  // `places` more of them are in the floats.
  void added(std::size_t places) {
    if ((places_ += places) >= 64) flush();
  }
  void flush() {
    for (std::size_t i = 0; i < partial.size(); ++i) total[i] += static_cast<double>(partial[i]);
    std::fill(partial.begin(), partial.end(), 0.0F);
    places_ = 0;
  }

  std::vector<float> partial;
  std::vector<double> total;

 private:
  std::size_t places_ = 0;
};

// The gradients by the rows of a map, which go to `out` when no more is to be added to them, and the sums by channel of
// what passes of them and of its products with the centred values.
class Descent {
 public:
  Descent(const Layer& layer, const float* map, bool past, float* out)
      : window(layer.maps), passed(2 * layer.maps.channels), layer_(layer), map_(map), past_(past), out_(out) {}

  void finish(std::ptrdiff_t below) {
    const std::size_t channels = layer_.maps.channels, size = layer_.row;
    for (; next_ < std::min(below, static_cast<std::ptrdiff_t>(layer_.maps.height)); ++next_) {
      const std::size_t offset = static_cast<std::size_t>(next_) * size;
      const float* const row = window.row(next_);
      layers().copy(row, size, past_, out_ + offset);
      float* const sum = passed.partial.data();
      layers().add_passed(layer_.by.affine(), map_ + offset, row, layer_.maps.width, channels, sum, sum + channels);
      passed.added(layer_.maps.width);
      window.clear(next_);
    }
  }

  Window window;
  Sums passed;

 private:
  const Layer& layer_;
  const float* map_;
  bool past_;
  float* out_;
  std::ptrdiff_t next_ = 0;
};

struct Totals {
  std::vector<double> by_filter, passed;
};

Totals spread_map(const Layer& layer, const float* map, const float* gradient, bool past, float* out) {
  const std::size_t channels = layer.maps.channels;
  Window values(layer.maps);
  Reader reader(layer, map);
  Descent descent(layer, map, past, out);
  Sums by_filter(taps * channels);
  std::vector<float> outer(layer.filtered_row + 4 * channels);
  for (std::size_t row = 0; row < layer.maps.filtered_height(); ++row) {
    const auto centre = static_cast<std::ptrdiff_t>(row * layer.maps.stride);
    descent.finish(centre - 1);
    reader.read(centre + 2, values);
    std::copy_n(gradient + row * layer.filtered_row, layer.filtered_row, outer.data() + 2 * channels);
    layers().spread_row(layer.strip, values.seen(centre).data(), outer.data(), descent.window.seen(centre).data(),
                        by_filter.partial.data());
    by_filter.added(layer.strip.width);
  }
  descent.finish(static_cast<std::ptrdiff_t>(layer.maps.height));
  by_filter.flush();
  descent.passed.flush();
  return {std::move(by_filter.total), std::move(descent.passed.total)};
}

}  // namespace

void depthwise(const Maps& maps, const Scale& scale, const float* filters, float* out, int threads,
               Progress& progress) {
  const Layer layer(maps, scale, filters);
  parallel_for(threads, maps.count, progress, [&](std::size_t number) {
    filter_map(layer, maps.values + number * maps.height * layer.row,
               out + number * maps.filtered_height() * layer.filtered_row);
  });
}

void depthwise_backward(const Maps& maps, const Scale& scale, const float* filters, const float* gradient,
                        const ScaleGradients& out, float* by_filter, int threads, Progress& progress) {
  const Layer layer(maps, scale, filters);
  const std::size_t size = maps.height * layer.row, filtered = maps.filtered_height() * layer.filtered_row;
  const bool past = goes_past_cache(out.by_value, maps.count * size);
  std::vector<Totals> of_maps(maps.count);
  parallel_for(threads, maps.count, progress, [&](std::size_t number) {
    of_maps[number] = spread_map(layer, maps.values + number * size, gradient + number * filtered, past,
                                 out.by_value + number * size);
  });
  Totals all = std::move(of_maps.front());
  for (std::size_t number = 1; number < maps.count; ++number) {
    const auto add = [](std::vector<double>& to, const std::vector<double>& from) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
    };
    add(all.by_filter, of_maps[number].by_filter);
    add(all.passed, of_maps[number].passed);
  }
  for (std::size_t i = 0; i < all.by_filter.size(); ++i) by_filter[i] = static_cast<float>(all.by_filter[i]);
  const Planes planes{maps.values, maps.count * maps.height * maps.width, maps.channels};
  descend_relu6(planes, scale, out.by_value, all.passed.data(), all.passed.data() + maps.channels, out, threads,
                progress);
}

}  // namespace facetools
