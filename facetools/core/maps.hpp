// How feature maps are gone through under depthwise filters of 3 x 3, and back: row by row, so that what filters see lies
// in a few rows that never leave the cache. Where rows come from and where the gradients by them go is up to a class
// Rows, of which each range of maps has its own:
//
//   read(map, row, out)               brings a row of a map, kept from 0 to 6
//
// and on the way back also
//
//   take(map, row, values, gradient)  takes the gradient by a row of such values
//   sums()                            what was added up of all that was taken
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "aligned.hpp"
#include "batch_norm.hpp"
#include "parallel.hpp"
#include "shapes.hpp"
#include "simd.hpp"
#include "sums.hpp"

namespace facetools {

// Filters (channels, 9) as kernels take them: (9, channels).
inline Aligned<float> taps_of(const float* filters, std::size_t channels) {
  Aligned<float> taps = room<float>(9 * channels);
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t tap = 0; tap < 9; ++tap) taps[tap * channels + c] = filters[9 * c + tap];
  return taps;
}

// The other way round.
inline void put_taps(const double* taps, std::size_t channels, float* filters) {
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t tap = 0; tap < 9; ++tap) filters[9 * c + tap] = static_cast<float>(taps[tap * channels + c]);
}

// What all maps have in common.
struct Filters {
  Filters(const MapShape& all, const float* weights)
      : maps(all), strip{weights, all.filtered_width(), all.channels, all.stride}, row(strip.width * all.channels) {}

  MapShape maps;
  Strip strip;
  std::size_t row;  // the size of a filtered one
};

// The three rows of a map that a row of filters sees, by turns, between two columns of zeros. Rows beyond the border
// lie in a place of their own.
class Window {
 public:
  explicit Window(const MapShape& maps)
      : height_(maps.height),
        channels_(maps.channels),
        size_((maps.width + 2) * maps.channels),
        values_(aligned<float>(4 * size_)) {}

  float* row(std::size_t row) { return padded(row % 3) + channels_; }

  // What the filters of row `centre` see, from one column before the first.
  std::array<float*, 3> seen(std::size_t centre) {
    return {padded(centre > 0 ? (centre - 1) % 3 : 3), padded(centre % 3),
            padded(centre + 1 < height_ ? (centre + 1) % 3 : 3)};
  }

 private:
  float* padded(std::size_t place) { return values_.get() + place * size_; }

  std::size_t height_, channels_, size_;
  Aligned<float> values_;
};

// Maps that one thread goes through with the same windows: small ones several at a time, and enough of them for what
// ranges come to to be added up soon.
inline std::size_t maps_at_a_time(const MapShape& maps) {
  return std::clamp<std::size_t>(std::max(128 / (maps.height * maps.width), maps.count / 32), 1, 8);
}

// Has rows read, up to the last one that the filters of row `centre` see.
template <class Rows>
void read_to(std::size_t centre, const MapShape& maps, std::size_t map, std::size_t& next, Rows& rows, Window& window) {
  for (; next < std::min(centre + 2, maps.height); ++next) rows.read(map, next, window.row(next));
}

// The first place of all filtered maps.
template <class Rows>
Aligned<float> first_filtered(const Filters& filters, Rows rows) {
  const std::size_t channels = filters.maps.channels;
  Window window(filters.maps);
  std::size_t next = 0;
  read_to(0, filters.maps, 0, next, rows, window);
  Aligned<float> first = aligned<float>(channels), none = aligned<float>(3 * channels);
  const Strip one{filters.strip.filters, 1, channels, filters.strip.stride};
  kernels().layers.filter_row(one, window.seen(0).data(), false, first.get(),
                              {none.get(), none.get() + channels, none.get() + 2 * channels});
  return first;
}

// out = the maps under the filters, and the moments of that.
template <class MakeRows>
void filter_maps(const Filters& filters, const MakeRows& make_rows, float* out, const Moments& moments, int threads,
                 Progress& progress) {
  const MapShape& maps = filters.maps;
  const std::size_t height = maps.filtered_height(), grain = maps_at_a_time(maps);
  const bool past = goes_past_cache(out, maps.count * height * filters.row);
  const Aligned<float> origin = first_filtered(filters, make_rows());
  std::vector<std::vector<double>> of_ranges((maps.count + grain - 1) / grain);
  const auto filtering = [&](auto& rows, Window& window, Sums& sums, std::size_t map) {
    float* const sum = sums.partial.get();
    std::size_t next = 0;
    for (std::size_t row = 0; row < height; ++row) {
      read_to(row * maps.stride, maps, map, next, rows, window);
      kernels().layers.filter_row(filters.strip, window.seen(row * maps.stride).data(), past,
                                  out + (map * height + row) * filters.row,
                                  {origin.get(), sum, sum + maps.channels});
      sums.added(filters.strip.width);
    }
  };
  parallel_ranges_by(threads, maps.count, grain, progress, [&] {
    return [&, rows = make_rows(), window = Window(maps), sums = Sums(2 * maps.channels, short_sum)](
               std::size_t begin, std::size_t end) mutable {
      for (std::size_t map = begin; map < end; ++map) filtering(rows, window, sums, map);
      of_ranges[begin / grain] = sums.flushed();
    };
  });
  moments.take(added_up(of_ranges), origin.get(), maps.count * height * filters.strip.width);
}

// The gradients by the rows of maps and by the filters that see them.
template <class Rows>
class Descent {
 public:
  Descent(const Filters& filters, Rows rows)
      : filters_(filters),
        rows_(std::move(rows)),
        values_(aligned<float>((filters.maps.width + 1) * filters.maps.channels)),
        by_row_(aligned<float>((filters.maps.width + 1) * filters.maps.channels)),
        outer_(aligned<float>(3 * (filters.row + 2 * filters.maps.channels))),
        by_filter_(9 * filters.maps.channels, short_sum) {}

  // gradient(row, out) brings that by a row of filtered maps, of its number among those of all of them.
  template <class Gradient>
  void go(std::size_t map, const Gradient& gradient) {
    const MapShape& maps = filters_.maps;
    std::size_t next = 0;
    for (std::size_t row = 0; row < maps.height; ++row) {
      rows_.read(map, row, values_.get());
      // From the lowest of them on, which the first taps belong to.
      std::array<const float*, 3> seen_by{};
      for (std::size_t tap = 0; tap < 3 && tap <= row + 1; ++tap) {
        const std::size_t centre = row + 1 - tap, filtered = centre / maps.stride;
        if (centre % maps.stride != 0 || filtered >= maps.filtered_height()) continue;
        for (; next <= filtered; ++next) gradient(map * maps.filtered_height() + next, outer(next));
        seen_by[tap] = outer(filtered);
      }
      kernels().layers.lead_row_back(filters_.strip, maps.width, seen_by.data(), values_.get(),
                                     by_filter_.partial.get(), by_row_.get());
      by_filter_.added(filters_.strip.width);
      rows_.take(map, row, values_.get(), by_row_.get());
    }
  }

  // The sums by filter, and then those of the rows, of all maps since the last ones.
  std::vector<double> sums() { return joined(by_filter_.flushed(), rows_.sums()); }

 private:
  // A row of the gradient by filtered maps, between two columns of zeros.
  float* outer(std::size_t row) {
    const std::size_t channels = filters_.maps.channels;
    return outer_.get() + row % 3 * (filters_.row + 2 * channels) + channels;
  }

  const Filters& filters_;
  Rows rows_;
  Aligned<float> values_, by_row_;
  Aligned<float> outer_;  // three of these
  Sums by_filter_;
};

// Goes back through all maps; gives the sums by filter (9, channels), and then those of the rows.
template <class MakeRows, class Gradient>
std::vector<double> descend_maps(const Filters& filters, const MakeRows& make_rows, const Gradient& gradient,
                                 int threads, Progress& progress) {
  const std::size_t count = filters.maps.count, grain = maps_at_a_time(filters.maps);
  std::vector<std::vector<double>> of_ranges((count + grain - 1) / grain);
  parallel_ranges_by(threads, count, grain, progress, [&] {
    return [&, descent = Descent(filters, make_rows())](std::size_t begin, std::size_t end) mutable {
      for (std::size_t map = begin; map < end; ++map) descent.go(map, gradient);
      of_ranges[begin / grain] = descent.sums();
    };
  });
  return added_up(of_ranges);
}

}  // namespace facetools
