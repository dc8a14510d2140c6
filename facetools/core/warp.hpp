// Images seen through affine maps: the augmentation of a batch on a CPU.
#pragma once

#include "parallel.hpp"
#include "simd.hpp"

namespace facetools {

// Writes each image, of the same shape, as its warp shows it: the place (row, column) shows the place
// (w[0] row + w[1] column + w[2], w[3] row + w[4] column + w[5]) of the image, bilinear, beyond the border the nearest
// pixel. `warps` has six numbers an image, of at most 1e9 in size.
void warp(const Images& images, const double* warps, float* out, int threads, Progress& progress);

}  // namespace facetools
