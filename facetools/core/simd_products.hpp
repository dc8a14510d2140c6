// Included by each SIMD level: products of small matrices over a class Simd of its vectors of floats, which besides what
// simd_layers.hpp names has `registers`, how many of its vectors the processor holds.
#pragma once

#include "layers.hpp"

namespace facetools {

namespace {

// So many rows of the product at so many vectors of columns, kept in registers: the loops over them must be unrolled.
template <class Simd, std::size_t rows, std::size_t vectors>
struct Tile {
  using Vector = typename Simd::Vector;

  Tile() {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < rows; ++r)
#pragma GCC unroll 3
      for (std::size_t v = 0; v < vectors; ++v) sums[r][v] = Simd::splat(0);
  }

  void load(const float* from, std::size_t step) {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < rows; ++r)
#pragma GCC unroll 3
      for (std::size_t v = 0; v < vectors; ++v) sums[r][v] = Simd::load(from + r * step + v * Simd::lanes);
  }

  // Of the rows of `a` from `from` on.
  void add(const float* from, const Factor& a, const float* b, std::size_t step) {
    for (std::size_t i = 0; i < a.inner; ++i, from += a.inner_step, b += step) {
      Vector line[vectors];
#pragma GCC unroll 3
      for (std::size_t v = 0; v < vectors; ++v) line[v] = Simd::load(b + v * Simd::lanes);
#pragma GCC unroll 8
      for (std::size_t r = 0; r < rows; ++r) {
        const Vector value = Simd::splat(from[r * a.row_step]);
#pragma GCC unroll 3
        for (std::size_t v = 0; v < vectors; ++v) sums[r][v] = Simd::add_product(sums[r][v], value, line[v]);
      }
    }
  }

  void store(float* to, std::size_t step) const {
#pragma GCC unroll 8
    for (std::size_t r = 0; r < rows; ++r)
#pragma GCC unroll 3
      for (std::size_t v = 0; v < vectors; ++v) Simd::store(to + r * step + v * Simd::lanes, sums[r][v]);
  }

  Vector sums[rows][vectors];
};

template <class Simd, std::size_t rows, std::size_t vectors>
void multiply_tile(const float* from, const Factor& a, const float* b, std::size_t step, bool add, float* out) {
  Tile<Simd, rows, vectors> sums;
  if (add) sums.load(out, step);
  sums.add(from, a, b, step);
  sums.store(out, step);
}

// The rows of the product from `row` on, at so many vectors of columns: as many at a time as there are, at most `rows`.
template <class Simd, std::size_t rows, std::size_t vectors>
void multiply_rows(const Factor& a, std::size_t row, const float* b, std::size_t step, bool add, float* out) {
  for (; row + rows <= a.rows; row += rows)
    multiply_tile<Simd, rows, vectors>(a.values + row * a.row_step, a, b, step, add, out + row * step);
  if constexpr (rows > 1) multiply_rows<Simd, rows / 2, vectors>(a, row, b, step, add, out);
}

// As many columns of the product as there are, at most so many vectors at a time. One alone is slow, so that a last four
// are two times two.
template <class Simd, std::size_t vectors>
void multiply_columns(const Factor& a, const float* b, std::size_t columns, std::size_t step, bool add, float* out) {
  constexpr std::size_t some = vectors * Simd::lanes;
  for (; columns >= some && (vectors < 3 || columns != 4 * Simd::lanes); columns -= some, b += some, out += some)
    multiply_rows<Simd, Simd::registers / 4, vectors>(a, 0, b, step, add, out);
  if constexpr (vectors > 1) multiply_columns<Simd, vectors - 1>(a, b, columns, step, add, out);
}

template <class Simd>
void multiply(const Factor& a, const Columns& b, bool add, float* out) {
  multiply_columns<Simd, 3>(a, b.values, b.columns, b.step, add, out);
}

}  // namespace

}  // namespace facetools
