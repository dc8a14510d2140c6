#if defined(__x86_64__)
#include <immintrin.h>

#include "simd/vector_kernels.hpp"

namespace facetools {

namespace {

struct Avx2 {
  static constexpr int lanes = 32;
  using Vector = __m256i;
  using Total = __m256i;

  static Vector load(const std::uint8_t* bytes) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
  }
  static void store(std::uint8_t* bytes, Vector a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes), a); }
  static Vector least(Vector a, Vector b) { return _mm256_min_epu8(a, b); }
  static Vector greatest(Vector a, Vector b) { return _mm256_max_epu8(a, b); }
  static Vector splat(std::uint8_t byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
  static Vector distance(Vector a, Vector b) {
    const Vector bits_of = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const Vector nibble = splat(15), x = _mm256_xor_si256(a, b);
    return add(_mm256_shuffle_epi8(bits_of, _mm256_and_si256(x, nibble)),
               _mm256_shuffle_epi8(bits_of, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble)));
  }
  static Vector add(Vector a, Vector b) { return _mm256_add_epi8(a, b); }
  static std::uint64_t at_most(Vector bytes, Vector limit) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(bytes, limit), bytes)));
  }

  // shuffle looks up 16 bytes by the low four bits, and gives 0 where the top bit is set: in row r of the table,
  // wherever the upper four bits are not r.
  template <int entries>
  struct Index {
    explicit Index(Vector bytes) {
      for (int r = 0; r < entries / 16; ++r)
        row[r] = _mm256_adds_epu8(_mm256_xor_si256(bytes, splat(static_cast<std::uint8_t>(16 * r))), splat(0x70));
    }
    Vector row[entries / 16];
  };

  template <int entries>
  struct Table {
    Vector row[entries / 16];

    void load(const std::uint8_t* digits) {
      for (int r = 0; r < entries / 16; ++r)
        row[r] = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(digits + 16 * r)));
    }
    Vector at(const Index<entries>& index) const {
      Vector found = _mm256_shuffle_epi8(row[0], index.row[0]);
      for (int r = 1; r < entries / 16; ++r)
        found = _mm256_or_si256(found, _mm256_shuffle_epi8(row[r], index.row[r]));
      return found;
    }
  };

  static Total zero() { return _mm256_setzero_si256(); }
  static Total dot(Total total, Vector digits, Vector weights) {  // 2 * 255 * 63 fits 16 bits
    const Vector pairs = _mm256_maddubs_epi16(digits, weights);
    return _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  static std::uint32_t sum(Total total) {
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(half));
  }
};

struct Avx2Floats {
  static constexpr int lanes = 8;
  using Vector = __m256;

  static Vector load(const float* from) { return _mm256_loadu_ps(from); }
  static Vector splat(float value) { return _mm256_set1_ps(value); }
  static Vector add_product(Vector sum, Vector a, Vector b) { return _mm256_fmadd_ps(a, b, sum); }
  static std::uint32_t at_most(Vector a, Vector b) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LE_OQ)));
  }
};

}  // namespace

const Kernels& avx2_kernels() {
  static constexpr Kernels level{"avx2", sum_runs<Avx2>, sum_loose, root_sums, within<Avx2>,
                                 distances<Avx2>, approach<Avx2>, screen<Avx2Floats>, nearest, potentials};
  return level;
}

}  // namespace facetools
#endif
