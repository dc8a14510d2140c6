#include "product.hpp"

#include <algorithm>
#include <type_traits>

namespace facetools {

namespace {

// What is gone through together: a part of b that the second cache holds, and strips of it that fit the first.
constexpr std::size_t columns_of_task = 192, inner_at_a_time = 192;

// Of a task; fewer where some threads would have none.
std::size_t rows_of_task(std::size_t rows, std::size_t across, int threads) {
  std::size_t some = 64;
  while (threads > 1 && some > 16 && (rows + some - 1) / some * across < 4 * static_cast<std::size_t>(threads))
    some /= 2;
  return some;
}

}  // namespace

void product(const Factor& a, const Columns& b, const Products& products, float* out, int threads, Progress& progress) {
  const std::size_t across = (b.columns + columns_of_task - 1) / columns_of_task;
  const std::size_t some = rows_of_task(a.rows, across, threads), down = (a.rows + some - 1) / some;
  const Ready left(products, a, across > 1, threads);
  const Ready right(products, b, down > 1, threads);
  parallel_for(threads, down * across, progress, [&](std::size_t task) {
    const std::size_t row = task / across * some, column = task % across * columns_of_task;
    const Factor rows = left->lines_from(row, std::min(some, a.rows - row));
    const Columns columns = right->lines_from(column, std::min(columns_of_task, b.columns - column));
    for (std::size_t i = 0; i < a.inner; i += inner_at_a_time) {
      const std::size_t terms = std::min(inner_at_a_time, a.inner - i);
      products.multiply(rows.terms_from(i, terms), columns.terms_from(i, terms), i > 0, out + row * b.step + column);
    }
  });
}

void transpose(const float* values, std::size_t rows, std::size_t columns, std::size_t step, float* out, int threads,
               Progress& progress) {
  constexpr std::size_t side = 16;
  // Square by square, by way of a place that is in the cache for sure.
  const auto turn = [=](const float* from, float* to, auto height, auto width) {
    float square[side][side];
    for (std::size_t row = 0; row < height; ++row) std::copy_n(from + row * columns, width, square[row]);
    for (std::size_t column = 0; column < width; ++column)
      for (std::size_t row = 0; row < height; ++row) to[column * step + row] = square[row][column];
  };
  const std::size_t grain = std::max<std::size_t>(1, (std::size_t{1} << 15U) / rows / side) * side;
  parallel_ranges(threads, columns, grain, progress, [&](std::size_t begin, std::size_t end) {
    // Of known sides compilers need no loops.
    constexpr std::integral_constant<std::size_t, side> all;
    for (std::size_t left = begin; left < end; left += side)
      for (std::size_t top = 0; top < rows; top += side) {
        const std::size_t height = std::min(side, rows - top), width = std::min(side, end - left);
        const float* const from = values + top * columns + left;
        float* const to = out + left * step + top;
        height == side && width == side ? turn(from, to, all, all) : turn(from, to, height, width);
      }
  });
}

}  // namespace facetools
