// Codes laid out for SIMD: blocks of 64 codes as byte planes.
//
// Plane p of a block holds byte p (attributes 8 p .. 8 p + 7) of its 64 codes side by side, so that the distances of a
// code to 64 others are sums of byte popcounts, a byte each. A last plane holds 64 weights. Unused places weigh 0.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codes/aligned.hpp"
#include "codes/codes.hpp"

namespace facetools {

inline constexpr std::size_t block_codes = 64;

inline std::uint8_t code_byte(const std::uint64_t* code, int plane) {
  return static_cast<std::uint8_t>(code[plane / 8] >> (8 * (plane % 8)));
}

class Blocks {
 public:
  Blocks(int planes, std::size_t blocks)
      : planes_(planes), size_(blocks * stride()), bytes_(aligned<std::uint8_t>(size_)) {}

  int planes() const { return planes_; }
  std::size_t stride() const { return block_codes * (static_cast<std::size_t>(planes_) + 1); }
  const std::uint8_t* operator[](std::size_t block) const { return bytes_.get() + block * stride(); }
  std::size_t blocks() const { return size_ / stride(); }

  void weigh(std::size_t place, std::uint8_t weight) { at(place)[stride() - block_codes] = weight; }

  void set(std::size_t place, const std::uint64_t* code, std::uint8_t weight) {
    std::uint8_t* byte = at(place);
    for (int p = 0; p < planes_; ++p, byte += block_codes) *byte = code_byte(code, p);
    *byte = weight;
  }

 private:
  std::uint8_t* at(std::size_t place) {
    return bytes_.get() + place / block_codes * stride() + place % block_codes;
  }

  int planes_;
  std::size_t size_;
  Aligned<std::uint8_t> bytes_;
};

}  // namespace facetools
