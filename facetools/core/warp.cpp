#include "warp.hpp"

namespace facetools {

void warp(const Images& images, const double* warps, float* out, int threads, Progress& progress) {
  const std::size_t size = images.height * images.width * images.channels;
  parallel_for(threads, images.count, progress, [&](std::size_t image) {
    kernels().warp_image(images, images.pixels + image * size, warps + 6 * image, out + image * size);
  });
}

}  // namespace facetools
