// Included by each SIMD level: sums of weighted samples in fixed point, over a class Samples of sixteen of them:
//
//   Sums                      of 32 bits
//   splat(word)               the same everywhere
//   add(sums, four, weight)   four are words of four samples each
//   four(sums)                whole numbers, at most 255
#pragma once

#include "simd.hpp"

namespace facetools {

namespace {

using FourWords = std::uint32_t __attribute__((vector_size(16)));

constexpr std::uint32_t one_half = std::uint32_t{1} << (Span::precision - 1);

template <class Samples>
void resize_rows(const std::uint8_t* rows, std::size_t line, const Span* spans, std::size_t places,
                 const std::uint32_t* weights, std::uint8_t* out, std::size_t out_line) {
  const auto word = [](const std::uint8_t* bytes) {
    std::uint32_t loaded;
    __builtin_memcpy(&loaded, bytes, sizeof loaded);
    return loaded;
  };
  for (std::size_t place = 0; place < places; ++place, out += 3) {
    const std::uint8_t* from = rows + 3 * spans[place].first;
    const std::uint32_t* const own = weights + spans[place].weights;
    auto sums = Samples::splat(one_half);
    for (std::size_t i = 0; i < spans[place].count; ++i, from += 3) {
      const FourWords four{word(from), word(from + line), word(from + 2 * line), word(from + 3 * line)};
      sums = Samples::add(sums, four, own[i]);
    }
    const FourWords four = Samples::four(sums);
    for (std::size_t row = 0; row < 4; ++row) {  // the next pixel writes over the fourth byte
      const std::uint32_t pixel = four[row];
      __builtin_memcpy(out + row * out_line, &pixel, sizeof pixel);
    }
  }
}

template <class Samples>
void blend_rows(const std::uint8_t* rows, std::size_t line, const std::uint32_t* weights, std::size_t count,
                std::uint8_t* out) {
  for (std::size_t begin = 0; begin < line; begin += sizeof(FourWords)) {
    auto sums = Samples::splat(one_half);
    for (std::size_t row = 0; row < count; ++row) {
      FourWords four;
      __builtin_memcpy(&four, rows + row * line + begin, sizeof four);
      sums = Samples::add(sums, four, weights[row]);
    }
    const FourWords four = Samples::four(sums);
    __builtin_memcpy(out + begin, &four, sizeof four);
  }
}

}  // namespace

}  // namespace facetools
