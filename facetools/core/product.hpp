// Products of matrices of some dozens to some thousands of rows and columns, as training makes them one after another.
#pragma once

#include <cstddef>

#include "layers.hpp"
#include "parallel.hpp"

namespace facetools {

// out (rows, columns) = a b, of which b is (inner, columns), of a multiple of `channels_in` columns. No sum depends on
// the number of threads.
void product(const Factor& a, const float* b, std::size_t columns, Multiply multiply, float* out, int threads,
             Progress& progress);

// out (columns, rows), rows of it `step` apart, = values (rows, columns), turned.
void transpose(const float* values, std::size_t rows, std::size_t columns, std::size_t step, float* out, int threads,
               Progress& progress);

}  // namespace facetools
