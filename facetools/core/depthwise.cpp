#include "depthwise.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "aligned.hpp"
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
        values_(aligned<float>(4 * size_)) {}

  float* row(std::ptrdiff_t row) { return padded(row) + channels_; }

  // What the filters of row `centre` see, from one column before the first.
  std::array<float*, 3> seen(std::ptrdiff_t centre) {
    return {padded(centre - 1), padded(centre), padded(centre + 1)};
  }

 private:
  float* padded(std::ptrdiff_t row) {
    const bool inside = row >= 0 && row < height_;
    return values_.get() + (inside ? static_cast<std::size_t>(row) % 3 : 3) * size_;
  }

  std::ptrdiff_t height_;
  std::size_t channels_, size_;
  Aligned<float> values_;
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

// Maps that one thread goes through with the same windows, small ones several at a time.
std::size_t maps_at_a_time(const Maps& maps) {
  return std::clamp<std::size_t>(128 / (maps.height * maps.width), 1, 8);
}

void filter_map(const Layer& layer, const float* map, Window& window, bool past, float* out) {
  Reader reader(layer, map);
  for (std::size_t row = 0; row < layer.maps.filtered_height(); ++row) {
    const auto centre = static_cast<std::ptrdiff_t>(row * layer.maps.stride);
    reader.read(centre + 2, window);
    layers().filter_row(layer.strip, window.seen(centre).data(), past, out + row * layer.filtered_row);
  }
}

// Sums in double of what is added up in float over some places at a time.
class Sums {
 public:
  explicit Sums(std::size_t size) : partial(aligned<float>(size)), total(size) {}

  // `places` more of them are in the floats.
  void added(std::size_t places) {
    if ((places_ += places) >= 64) flush();
  }
  void flush() {
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += static_cast<double>(std::exchange(partial[i], 0.0F));
    places_ = 0;
  }

  Aligned<float> partial;
  std::vector<double> total;

 private:
  std::size_t places_ = 0;
};

// What the gradients of some maps need and come to: those by the rows that filters see, the sums by filter, and those
// by channel of what passes of the gradients and of its products with the centred values.
struct Descent {
  explicit Descent(const Layer& layer)
      : values(layer.maps),
        by_row(layer.maps),
        outer(aligned<float>(layer.filtered_row + 4 * layer.maps.channels)),
        by_filter(taps * layer.maps.channels),
        passed(2 * layer.maps.channels) {}

  Window values, by_row;
  Aligned<float> outer;  // a row of the gradient, between two columns of zeros
  Sums by_filter, passed;
};

// Brings what passes of the gradients by the rows of a map to `out`, when no more is to be added to them.
class Writer {
 public:
  Writer(const Layer& layer, const float* map, bool past, float* out)
      : layer_(layer), map_(map), past_(past), out_(out) {}

  void write(std::ptrdiff_t below, Descent& descent) {
    const Maps& maps = layer_.maps;
    for (; next_ < std::min(below, static_cast<std::ptrdiff_t>(maps.height)); ++next_) {
      const std::size_t offset = static_cast<std::size_t>(next_) * layer_.row;
      float* const sum = descent.passed.partial.get();
      layers().take_passed(layer_.by.affine(), map_ + offset, descent.by_row.row(next_), maps.width, maps.channels,
                           past_, out_ + offset, sum, sum + maps.channels);
      descent.passed.added(maps.width);
    }
  }

 private:
  const Layer& layer_;
  const float* map_;
  bool past_;
  float* out_;
  std::ptrdiff_t next_ = 0;
};

// The gradient by filtered maps that their normalisation leaves of that by what comes after it.
class Gradient {
 public:
  Gradient(const Layer& layer, const Filtered& filtered, const float* outer, const ScaleGradients& out, int threads,
           Progress& progress)
      : layer_(layer),
        values_(filtered.values),
        outer_(outer),
        by_(filtered.scale, layer.maps.channels),
        drag_(drag_of({values_, layer.maps.count * layer.maps.filtered_height() * layer.strip.width,
                       layer.maps.channels},
                      filtered.scale, outer, out, threads, progress)) {}

  // A row of a map, of its number among those of all maps.
  void read(std::size_t row, float* out) const {
    const std::size_t at = row * layer_.filtered_row;
    layers().descend(by_.affine(), drag_.shift(), drag_.slope(), values_ + at, outer_ + at, layer_.strip.width,
                     layer_.maps.channels, false, out);
  }

 private:
  const Layer& layer_;
  const float *values_, *outer_;
  Normalisation by_;
  Drag drag_;
};

void spread_map(const Layer& layer, const float* maps, std::size_t number, const Gradient& gradient, Descent& descent,
                bool past, float* out) {
  const std::size_t offset = number * layer.maps.height * layer.row, rows = layer.maps.filtered_height();
  const float* const map = maps + offset;
  Reader reader(layer, map);
  Writer writer(layer, map, past, out + offset);
  for (std::size_t row = 0; row < rows; ++row) {
    const auto centre = static_cast<std::ptrdiff_t>(row * layer.maps.stride);
    writer.write(centre - 1, descent);
    reader.read(centre + 2, descent.values);
    gradient.read(number * rows + row, descent.outer.get() + 2 * layer.maps.channels);
    layers().spread_row(layer.strip, descent.values.seen(centre).data(), descent.outer.get(),
                        descent.by_row.seen(centre).data(), descent.by_filter.partial.get());
    descent.by_filter.added(layer.strip.width);
  }
  writer.write(static_cast<std::ptrdiff_t>(layer.maps.height), descent);
}

struct Totals {
  std::vector<double> by_filter, passed;
};

}  // namespace

void depthwise(const Maps& maps, const Scale& scale, const float* filters, float* out, int threads,
               Progress& progress) {
  const Layer layer(maps, scale, filters);
  const bool past = goes_past_cache(out, maps.count * maps.filtered_height() * layer.filtered_row);
  parallel_ranges(threads, maps.count, maps_at_a_time(maps), progress, [&](std::size_t begin, std::size_t end) {
    Window window(maps);
    for (std::size_t number = begin; number < end; ++number)
      filter_map(layer, maps.values + number * maps.height * layer.row, window, past,
                 out + number * maps.filtered_height() * layer.filtered_row);
  });
}

void depthwise_backward(const Maps& maps, const Scale& scale, const float* filters, const Filtered& filtered,
                        const float* outer, const DepthwiseGradients& out, int threads, Progress& progress) {
  const Layer layer(maps, scale, filters);
  const Gradient gradient(layer, filtered, outer, out.by_filtered_scale, threads, progress);
  const bool past = goes_past_cache(out.by_map, maps.count * maps.height * layer.row);
  const std::size_t grain = maps_at_a_time(maps);
  std::vector<Totals> of_ranges((maps.count + grain - 1) / grain);
  parallel_ranges(threads, maps.count, grain, progress, [&](std::size_t begin, std::size_t end) {
    Descent descent(layer);
    for (std::size_t number = begin; number < end; ++number)
      spread_map(layer, maps.values, number, gradient, descent, past, out.by_map);
    descent.by_filter.flush();
    descent.passed.flush();
    of_ranges[begin / grain] = {std::move(descent.by_filter.total), std::move(descent.passed.total)};
  });
  Totals all = std::move(of_ranges.front());
  for (std::size_t range = 1; range < of_ranges.size(); ++range) {
    const auto add = [](std::vector<double>& to, const std::vector<double>& from) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
    };
    add(all.by_filter, of_ranges[range].by_filter);
    add(all.passed, of_ranges[range].passed);
  }
  for (std::size_t i = 0; i < all.by_filter.size(); ++i) out.by_filter[i] = static_cast<float>(all.by_filter[i]);
  const Planes planes{maps.values, maps.count * maps.height * maps.width, maps.channels};
  const Drag drag(scale, planes.places, all.passed.data(), all.passed.data() + maps.channels, maps.channels,
                  out.by_scale);
  descend(planes, scale, drag, out.by_map, out.by_map, threads, progress);
}

}  // namespace facetools
