#include "warp.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace facetools {

namespace {

// A place along one side: the pixel before it, and how far it is on the way to the next one.
struct Place {
  std::int32_t pixel;
  float share;
};

// The nearest place to `place` that is inside: on the last pixel it is the whole way from the one before.
Place inside(float place, std::int32_t last) {
  const float kept = std::min(std::max(place, 0.0F), static_cast<float>(last));
  const std::int32_t pixel = std::min(static_cast<std::int32_t>(kept), std::max(last - 1, 0));
  return {pixel, kept - static_cast<float>(pixel)};
}

// Four neighbours by the bytes before them, and the shares of the way to the lower and to the right ones.
struct Spot {
  std::size_t offset;
  float down, right;
};

void spots_of(const Images& images, const double* w, std::size_t row, std::vector<Spot>& spots) {
  const auto last_row = static_cast<std::int32_t>(images.height - 1);
  const auto last_column = static_cast<std::int32_t>(images.width - 1);
  const auto row_step = static_cast<float>(w[1]), column_step = static_cast<float>(w[4]);
  const auto first_row = static_cast<float>(w[0] * static_cast<double>(row) + w[2]);
  const auto first_column = static_cast<float>(w[3] * static_cast<double>(row) + w[5]);
  const auto width = static_cast<std::int32_t>(images.width);
  for (std::int32_t column = 0; column < width; ++column) {
    const auto step = static_cast<float>(column);
    const Place down = inside(first_row + row_step * step, last_row);
    const Place right = inside(first_column + column_step * step, last_column);
    const auto pixel = static_cast<std::size_t>(down.pixel) * images.width + static_cast<std::size_t>(right.pixel);
    spots[static_cast<std::size_t>(column)] = {pixel * images.channels, down.share, right.share};
  }
}

void show(const Images& images, const std::uint8_t* image, const Spot& spot, float* out) {
  const std::size_t right = images.width > 1 ? images.channels : 0;
  const std::size_t down = images.height > 1 ? images.width * images.channels : 0;
  const std::uint8_t *upper = image + spot.offset, *lower = upper + down;
  for (std::size_t c = 0; c < images.channels; ++c) {
    const float top = upper[c] + spot.right * static_cast<float>(upper[right + c] - upper[c]);
    const float bottom = lower[c] + spot.right * static_cast<float>(lower[right + c] - lower[c]);
    out[c] = top + spot.down * (bottom - top);
  }
}

// The same of three channels at once. Four bytes are read where three are wanted, so the left pixel is read with the
// first byte of the right one, and the right pixel with the last byte of the left one.
using Bytes = std::uint8_t __attribute__((vector_size(4)));
using Floats = float __attribute__((vector_size(16)));

Floats floats_at(const std::uint8_t* bytes, int skipped) {
  std::uint32_t word;
  std::memcpy(&word, bytes, 4);
  word >>= 8 * skipped;
  return __builtin_convertvector(std::bit_cast<Bytes>(word), Floats);
}

Floats colours(const Images& images, const std::uint8_t* image, const Spot& spot) {
  const std::uint8_t *upper = image + spot.offset, *lower = upper + 3 * images.width;
  const Floats top_left = floats_at(upper, 0), bottom_left = floats_at(lower, 0);
  const Floats top = top_left + spot.right * (floats_at(upper + 2, 1) - top_left);
  const Floats bottom = bottom_left + spot.right * (floats_at(lower + 2, 1) - bottom_left);
  return top + spot.down * (bottom - top);
}

void warp_image(const Images& images, const std::uint8_t* image, const double* w, float* out) {
  const bool coloured = std::endian::native == std::endian::little && images.channels == 3 && images.width > 1 &&
                        images.height > 1;
  std::vector<Spot> spots(images.width);
  for (std::size_t row = 0; row < images.height; ++row) {
    spots_of(images, w, row, spots);
    std::size_t column = 0;
    if (coloured) {
      // Four floats are written where three belong: the next pixel writes over the fourth.
      for (; column + 1 < images.width; ++column, out += 3) {
        const Floats shown = colours(images, image, spots[column]);
        std::memcpy(out, &shown, sizeof shown);
      }
    }
    for (; column < images.width; ++column, out += images.channels) show(images, image, spots[column], out);
  }
}

}  // namespace

void warp(const Images& images, const double* warps, float* out, int threads, Progress& progress) {
  const std::size_t size = images.height * images.width * images.channels;
  parallel_for(threads, images.count, progress, [&](std::size_t image) {
    warp_image(images, images.pixels + image * size, warps + 6 * image, out + image * size);
  });
}

}  // namespace facetools
