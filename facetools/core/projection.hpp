// The convolution of 1 x 1 that projects filtered maps, with the batch normalisation and the ReLU6 before it, and back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "aligned.hpp"
#include "parallel.hpp"
#include "product.hpp"
#include "shapes.hpp"
#include "simd.hpp"
#include "sums.hpp"

namespace facetools {

// Places gone through together, whose channels fit the first caches.
constexpr std::size_t at_a_time = 64;

// So many columns as kernels take.
inline std::size_t padded(std::size_t columns) { return (columns + channels_in - 1) / channels_in * channels_in; }

// Some columns of a table (rows, all of them).
inline Aligned<float> columns_of(const float* table, std::size_t rows, std::size_t all, std::size_t first,
                                 std::size_t some) {
  Aligned<float> columns = room<float>(rows * some);
  for (std::size_t row = 0; row < rows; ++row)
    std::copy_n(table + row * all + first, some, columns.get() + row * some);
  return columns;
}

// The other way round.
inline void put_columns(const double* from, std::size_t rows, std::size_t all, std::size_t first, std::size_t some,
                        float* table) {
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t i = 0; i < some; ++i) table[row * all + first + i] = static_cast<float>(from[row * some + i]);
}

// Products of some rows and so many columns, of which kernels make more.
class Unpadded {
 public:
  Unpadded(std::size_t rows, std::size_t columns)
      : columns_(columns), padded_(padded(columns)), rows_(aligned<float>(padded_ == columns ? 0 : rows * padded_)) {}

  // Where a product (rows, padded columns) is made that is to lie at `out` (rows, columns): there, if it fits.
  float* made_at(float* out) { return padded_ == columns_ ? out : rows_.get(); }

  // Puts so many rows of it there.
  void put(std::size_t rows, float* out) {
    if (padded_ == columns_) return;
    for (std::size_t row = 0; row < rows; ++row)
      std::copy_n(rows_.get() + row * padded_, columns_, out + row * columns_);
  }

  // Adds them to what is there.
  void add(std::size_t rows, float* out) {
    if (padded_ == columns_) return;
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t i = 0; i < columns_; ++i) out[row * columns_ + i] += rows_[row * padded_ + i];
  }

 private:
  std::size_t columns_, padded_;
  Aligned<float> rows_;
};

// The gradient (places, outputs) by what is projected, as rows and turned.
struct ProjectedGradient {
  ProjectedGradient(const Factor& gradient, const Products& products, int threads)
      : rows(products, gradient, threads), turned(products, gradient.turned(), threads) {}

  Ready<Factor> rows, turned;
};

// Rows (places, channels) that are normalised, kept from 0 to 6 and projected, on the way back.
class Projected {
 public:
  Projected(const Planes& planes, const Scale& scale, const Projection& projection)
      : planes_(planes),
        by_(scale, planes.channels),
        projection_(projection),
        weights_(projection.products,
                 Columns{projection.weights, projection.outputs, planes.channels, planes.channels}) {}

  // From the gradient by what is projected, some places of that by what is kept from 0 to 6.
  void spread(const ProjectedGradient& gradient, std::size_t place, std::size_t count, float* out) const {
    projection_.products.multiply(gradient.rows->lines_from(place, count), *weights_, false, out);
  }

  // What is summed up of some places.
  struct Found {
    Found(std::size_t outputs, std::size_t channels)
        : passed(2 * channels, short_sum),
          by_weight(outputs * channels, 1024),
          kept(room<float>(at_a_time * channels)) {}

    std::vector<double> sums() { return joined(passed.flushed(), by_weight.flushed()); }

    Sums passed;     // by channel: what passes, and its products with the centred values
    Sums by_weight;  // the gradient by the weights
    Aligned<float> kept;
  };

  // Adds some places, `at_a_time` at most, of which `inner` is what is spread.
  void add(const ProjectedGradient& gradient, std::size_t place, std::size_t count, const float* inner,
           Found& to) const {
    const std::size_t channels = planes_.channels;
    float* const sum = to.passed.partial.get();
    kernels().layers.add_passed(by_.affine(), planes_.at(place), inner, count, channels, to.kept.get(), sum,
                                sum + channels);
    to.passed.added(count);
    projection_.products.multiply(gradient.turned->terms_from(place, count),
                                  {to.kept.get(), count, channels, channels}, true, to.by_weight.partial.get());
    to.by_weight.added(count);
  }

  // What the normalisation leaves of some places of what is spread; `out` may be `inner`.
  void descend(const Drag& drag, std::size_t place, std::size_t count, const float* inner, float* out) const {
    kernels().layers.descend(by_.affine(), drag.shift(), drag.slope(), planes_.at(place), inner, count,
                             planes_.channels, false, out);
  }

 private:
  Planes planes_;
  Normalisation by_;
  Projection projection_;
  Ready<Columns> weights_;
};

// out (places, outputs) = filtered maps, of which `group` channels lie together (groups, places, group), normalised and
// kept from 0 to 6, projected.
void normalise_project(const Planes& planes, std::size_t group, const Scale& scale, const Projection& projection,
                       float* out, int threads, Progress& progress);

}  // namespace facetools
