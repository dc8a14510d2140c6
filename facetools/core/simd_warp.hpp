// Included by each SIMD level: images seen through affine maps. What is computed is the same everywhere; the width of
// the vectors is the compiler's.
#pragma once

#include <bit>

#include "simd.hpp"

namespace facetools {

namespace {

using Floats = float __attribute__((vector_size(32)));
using Ints = std::int32_t __attribute__((vector_size(32)));

// Where so many pixels of a row look: the upper left one of four neighbours, and the shares of the way to the others.
struct Spots {
  static constexpr std::size_t most = 64;
  std::int32_t row[most], column[most];
  float down[most], right[most];
};

// The nearest places along one side that are inside: on the last pixel it is the whole way from the one before.
void look(float first, float step, std::size_t begin, std::int32_t last, std::int32_t* pixels, float* shares) {
  const Floats end = Floats{} + static_cast<float>(last), none{};
  const Ints before = Ints{} + (last > 0 ? last - 1 : 0);
  Ints column = Ints{0, 1, 2, 3, 4, 5, 6, 7} + static_cast<std::int32_t>(begin);
  for (std::size_t i = 0; i < Spots::most; i += 8, column += 8) {
    const Floats place = first + step * __builtin_convertvector(column, Floats);
    const Floats low = place > none ? place : none, kept = low < end ? low : end;
    const Ints pixel = __builtin_convertvector(kept, Ints), upper = pixel < before ? pixel : before;
    const Floats share = kept - __builtin_convertvector(upper, Floats);
    __builtin_memcpy(pixels + i, &upper, sizeof upper);
    __builtin_memcpy(shares + i, &share, sizeof share);
  }
}

void show(const Images& images, const std::uint8_t* upper, float down, float right, float* out) {
  const std::size_t beside = images.width > 1 ? images.channels : 0;
  const std::uint8_t* const lower = upper + (images.height > 1 ? images.width * images.channels : 0);
  for (std::size_t c = 0; c < images.channels; ++c) {
    const float top = upper[c] + right * static_cast<float>(upper[beside + c] - upper[c]);
    const float bottom = lower[c] + right * static_cast<float>(lower[beside + c] - lower[c]);
    out[c] = top + down * (bottom - top);
  }
}

// The same of three channels at once. Four bytes are read where three are wanted, so the left pixel is read with the
// first byte of the right one, and the right pixel with the last byte of the left one; four floats are written.

using Four = float __attribute__((vector_size(16)));

Four floats_at(const std::uint8_t* bytes, int skipped) {
  using Bytes = std::uint8_t __attribute__((vector_size(16)));
  using Halves = std::uint16_t __attribute__((vector_size(16)));
  using Words = std::int32_t __attribute__((vector_size(16)));
  std::uint32_t word;
  __builtin_memcpy(&word, bytes, 4);
  // Zeros between them, twice: compilers know no better way that all levels have.
  const Words shifted{static_cast<std::int32_t>(word >> 8 * skipped)};
  const Bytes loaded = reinterpret_cast<Bytes>(shifted);
  const Bytes apart = __builtin_shufflevector(loaded, Bytes{}, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const Halves farther = __builtin_shufflevector(reinterpret_cast<Halves>(apart), Halves{}, 0, 8, 1, 9, 2, 10, 3, 11);
  return __builtin_convertvector(reinterpret_cast<Words>(farther), Four);
}

void show_colours(const std::uint8_t* upper, const std::uint8_t* lower, float down, float right, float* out) {
  const Four top_left = floats_at(upper, 0), bottom_left = floats_at(lower, 0);
  const Four top = top_left + right * (floats_at(upper + 2, 1) - top_left);
  const Four bottom = bottom_left + right * (floats_at(lower + 2, 1) - bottom_left);
  const Four shown = top + down * (bottom - top);
  __builtin_memcpy(out, &shown, sizeof shown);
}

void warp_image(const Images& images, const std::uint8_t* image, const double* w, float* out) {
  const bool coloured = std::endian::native == std::endian::little && images.channels == 3 && images.width > 1 &&
                        images.height > 1;
  const std::size_t channels = images.channels, line = images.width * channels;
  const auto last_row = static_cast<std::int32_t>(images.height - 1);
  const auto last_column = static_cast<std::int32_t>(images.width - 1);
  Spots spots;
  for (std::size_t row = 0; row < images.height; ++row) {
    const auto row_from = static_cast<float>(w[0] * static_cast<double>(row) + w[2]);
    const auto column_from = static_cast<float>(w[3] * static_cast<double>(row) + w[5]);
    for (std::size_t begin = 0; begin < images.width; begin += Spots::most) {
      const std::size_t count = images.width - begin < Spots::most ? images.width - begin : Spots::most;
      look(row_from, static_cast<float>(w[1]), begin, last_row, spots.row, spots.down);
      look(column_from, static_cast<float>(w[4]), begin, last_column, spots.column, spots.right);
      const auto at = [&](std::size_t i) {
        return image + static_cast<std::size_t>(spots.row[i]) * line +
               static_cast<std::size_t>(spots.column[i]) * channels;
      };
      std::size_t i = 0;
      if (coloured) {
        // The next pixel writes over the fourth float; the last one of a row has none.
        const std::size_t end = begin + count < images.width ? count : count - 1;
        for (; i < end; ++i, out += 3) show_colours(at(i), at(i) + line, spots.down[i], spots.right[i], out);
      }
      for (; i < count; ++i, out += channels) show(images, at(i), spots.down[i], spots.right[i], out);
    }
  }
}

}  // namespace

}  // namespace facetools
