// Codes laid out for the SIMD kernels: blocks of 64 codes as byte planes.
//
// Plane p of a block holds byte p (attributes 8 p to 8 p + 7) of its 64 codes, side by side. The Hamming distances of
// one code to the 64 others are then sums of byte popcounts, one byte per code. After the planes, a block holds one
// byte weight per code; its meaning depends on the kernel. Unused positions hold zeros.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "codes/aligned_array.hpp"
#include "codes/codes.hpp"

namespace facetools {

inline constexpr std::size_t block_size = 64;

inline std::uint8_t code_byte(const std::uint64_t* code, int plane) {
  return static_cast<std::uint8_t>(code[plane / 8] >> (8 * (plane % 8)));
}

// The first `planes` bytes of a code: a row of the SIMD kernels.
inline std::array<std::uint8_t, 8 * max_words> code_bytes(const std::uint64_t* code, int planes) {
  std::array<std::uint8_t, 8 * max_words> bytes;
  for (int p = 0; p < planes; ++p) bytes[static_cast<std::size_t>(p)] = code_byte(code, p);
  return bytes;
}

class CodeBlocks {
 public:
  CodeBlocks(int planes, std::size_t blocks)
      : planes_(planes), size_(blocks * stride()), bytes_(make_aligned<std::uint8_t>(size_)) {}

  // All codes in order, with weights of 0 and only the planes up to the last of the varying bits.
  CodeBlocks(const Codes& codes, const std::vector<std::size_t>& bits)
      : CodeBlocks(bits.empty() ? 1 : static_cast<int>(bits.back() / 8 + 1),
                   (codes.size + block_size - 1) / block_size) {
    for (std::size_t i = 0; i < codes.size; ++i) set(i, codes[i], 0);
  }

  int planes() const { return planes_; }
  std::size_t blocks() const { return size_ / stride(); }
  std::size_t positions() const { return blocks() * block_size; }
  const std::uint8_t* operator[](std::size_t block) const { return bytes_.get() + block * stride(); }

  void set_weight(std::size_t position, std::uint8_t weight) { at(position)[stride() - block_size] = weight; }

  void set(std::size_t position, const std::uint64_t* code, std::uint8_t weight) {
    std::uint8_t* byte = at(position);
    for (int p = 0; p < planes_; ++p, byte += block_size) *byte = code_byte(code, p);
    *byte = weight;
  }

 private:
  // Bytes per block.
  std::size_t stride() const { return block_size * (static_cast<std::size_t>(planes_) + 1); }

  std::uint8_t* at(std::size_t position) {
    return bytes_.get() + position / block_size * stride() + position % block_size;
  }

  int planes_;
  std::size_t size_;
  AlignedArray<std::uint8_t> bytes_;
};

}  // namespace facetools
