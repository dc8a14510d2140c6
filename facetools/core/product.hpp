// Products of matrices of some dozens to some thousands of rows and columns, as training makes them one after another.
#pragma once

#include <algorithm>
#include <cstddef>

#include "aligned.hpp"
#include "layers.hpp"
#include "parallel.hpp"

namespace facetools {

// A factor of many products, made ready for them once where factors are rounded; else it is as it lies.
template <class Matrix>
class Ready {
 public:
  Ready(const Products& products, const Matrix& matrix, int threads = 1) : Ready(products, matrix, true, threads) {}

  // Or not, where it is `wanted` but once.
  Ready(const Products& products, const Matrix& matrix, bool wanted, int threads) : matrix_(matrix) {
    const auto make = makes(products, matrix);
    if (make == nullptr || matrix.ready.first != nullptr || !wanted) return;
    const std::size_t step = (matrix.inner + Rounded::terms - 1) / Rounded::terms, lines = matrix.lines();
    rounded_ = room<Rounded>((lines + Rounded::lines - 1) / Rounded::lines * step);
    Progress silent(nullptr);
    parallel_ranges(threads, lines, Rounded::lines * (1 + 32 / step), silent, [&](std::size_t begin, std::size_t end) {
      for (std::size_t line = begin; line < end; line += Rounded::lines)
        make(matrix.lines_from(line, std::min(Rounded::lines, end - line)),
             rounded_.get() + line / Rounded::lines * step);
    });
    matrix_.ready = {rounded_.get(), step};
  }

  const Matrix& operator*() const { return matrix_; }
  const Matrix* operator->() const { return &matrix_; }

 private:
  static auto makes(const Products& products, const Factor&) { return products.make_rows; }
  static auto makes(const Products& products, const Columns&) { return products.make_columns; }

  Matrix matrix_;
  Aligned<Rounded> rounded_;
};

// out (rows, columns) = a b; no sum depends on the number of threads.
void product(const Factor& a, const Columns& b, const Products& products, float* out, int threads, Progress& progress);

// out (columns, rows), rows of it `step` apart, = values (rows, columns), turned.
void transpose(const float* values, std::size_t rows, std::size_t columns, std::size_t step, float* out, int threads,
               Progress& progress);

}  // namespace facetools
