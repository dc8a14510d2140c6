// The kernels for AVX2, FMA and POPCNT: 32 bytes or 8 floats per vector.
#if defined(__x86_64__)
#include <immintrin.h>

#include "simd/byte_vector_kernels.hpp"

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
  static Vector min(Vector a, Vector b) { return _mm256_min_epu8(a, b); }
  static Vector max(Vector a, Vector b) { return _mm256_max_epu8(a, b); }
  static Vector splat(std::uint8_t byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }
  static Vector distance(Vector a, Vector b) {
    const Vector nibble_popcount = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                                    0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const Vector low_nibble = splat(15), x = _mm256_xor_si256(a, b);
    return add(_mm256_shuffle_epi8(nibble_popcount, _mm256_and_si256(x, low_nibble)),
               _mm256_shuffle_epi8(nibble_popcount, _mm256_and_si256(_mm256_srli_epi16(x, 4), low_nibble)));
  }
  static Vector add(Vector a, Vector b) { return _mm256_add_epi8(a, b); }
  static std::uint64_t at_most(Vector bytes, Vector limit) {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(bytes, limit), bytes)));
  }

  // A shuffle looks up 16 table bytes by the low four bits of an index, and returns 0 where its top bit is set. The
  // index for row r of the table (entries 16 r to 16 r + 15) sets the top bit wherever the upper four bits are not r.
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

    void load(const std::uint8_t* bytes) {
      for (int r = 0; r < entries / 16; ++r)
        row[r] = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 16 * r)));
    }
    Vector at(const Index<entries>& index) const {
      Vector result = _mm256_shuffle_epi8(row[0], index.row[0]);
      for (int r = 1; r < entries / 16; ++r)
        result = _mm256_or_si256(result, _mm256_shuffle_epi8(row[r], index.row[r]));
      return result;
    }
  };

  static Total zero() { return _mm256_setzero_si256(); }
  static Total dot(Total total, Vector values, Vector weights) {
    const Vector pairs = _mm256_maddubs_epi16(values, weights);  // at most 2 * 255 * 63, which fits 16 signed bits
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
  static constexpr Kernels level{
      .name = "avx2",
      .sum_block_runs = sum_block_runs<Avx2>,
      .sum_small_clusters = sum_small_clusters,
      .sum_weighted_euclidean = sum_weighted_euclidean,
      .within_radius = within_radius<Avx2>,
      .hamming_distances = hamming_distances<Avx2>,
      .update_nearest = update_nearest<Avx2>,
      .screen = screen<Avx2Floats>,
      .nearest_centroids = nearest_centroids,
      .seeding_potentials = seeding_potentials,
      .mixture_posteriors = mixture_posteriors,
      .add_posteriors = add_posteriors,
  };
  return level;
}

}  // namespace facetools
#endif
