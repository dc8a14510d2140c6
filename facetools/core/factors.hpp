// Matrices that are multiplied, and the kernels that do so, two sets a SIMD level.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facetools {

// 16 rows or columns of a factor at 32 terms of sums, rounded to bfloat16: the pairs of terms of a row, or of all columns
// those of a pair, lie side by side.
struct alignas(64) Rounded {
  static constexpr std::size_t lines = 16, terms = 32;
  std::uint32_t pairs[lines][lines];
};

// What was made of a factor, if it is ready for many products: of each 16 rows or columns all terms, `step` apart.
struct RoundedLines {
  const Rounded* first = nullptr;
  std::size_t step = 0;

  RoundedLines from(std::size_t line, std::size_t term) const {
    if (first == nullptr) return {};
    return {first + line / Rounded::lines * step + term / Rounded::terms, step};
  }
};

// A first factor: a matrix (rows, inner) whose neighbours in a column lie `row_step` apart, those in a row `inner_step`.
// Parts of it, if it is ready, begin at a multiple of 16 rows and of 32 terms.
struct Factor {
  const float* values;
  std::size_t rows, inner, row_step, inner_step;
  RoundedLines ready = {};

  Factor turned() const { return {values, inner, rows, inner_step, row_step}; }
  Factor lines_from(std::size_t first, std::size_t some) const {
    return {values + first * row_step, some, inner, row_step, inner_step, ready.from(first, 0)};
  }
  Factor terms_from(std::size_t first, std::size_t some) const {
    return {values + first * inner_step, rows, some, row_step, inner_step, ready.from(0, first)};
  }
  std::size_t lines() const { return rows; }
};

// A second one: a matrix (inner, columns) of a multiple of `channels_in` columns, whose rows lie `step` apart.
struct Columns {
  const float* values;
  std::size_t inner, columns, step;
  RoundedLines ready = {};

  Columns lines_from(std::size_t first, std::size_t some) const {
    return {values + first, inner, some, step, ready.from(first, 0)};
  }
  Columns terms_from(std::size_t first, std::size_t some) const {
    return {values + first * step, some, columns, step, ready.from(0, first)};
  }
  std::size_t lines() const { return columns; }
};

// Products of matrices.
struct Products {
  // out (rows, columns) = or, with `add`, += a b. Its rows lie as far apart as those of b.
  void (*multiply)(const Factor& a, const Columns& b, bool add, float* out);

  // Makes 16 rows of a factor, or fewer, and 16 columns ready, if factors are rounded.
  void (*make_rows)(const Factor& a, Rounded* to) = nullptr;
  void (*make_columns)(const Columns& b, Rounded* to) = nullptr;
};

}  // namespace facetools
