// The kernels for AVX-512 F, BW, VBMI, VNNI, BITALG and VPOPCNTDQ: 64 bytes or 16 floats per vector.
#if defined(__x86_64__)
#include <immintrin.h>

#include "simd/byte_vector_kernels.hpp"

namespace facetools {

namespace {

struct Avx512 {
  static constexpr int lanes = 64;
  using Vector = __m512i;
  using Total = __m512i;

  static Vector load(const std::uint8_t* bytes) { return _mm512_loadu_si512(bytes); }
  static void store(std::uint8_t* bytes, Vector a) { _mm512_storeu_si512(bytes, a); }
  static Vector min(Vector a, Vector b) { return _mm512_min_epu8(a, b); }
  static Vector max(Vector a, Vector b) { return _mm512_max_epu8(a, b); }
  static Vector splat(std::uint8_t byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
  static Vector distance(Vector a, Vector b) { return _mm512_popcnt_epi8(_mm512_xor_si512(a, b)); }
  static Vector add(Vector a, Vector b) { return _mm512_add_epi8(a, b); }
  static std::uint64_t at_most(Vector bytes, Vector limit) { return _mm512_cmple_epu8_mask(bytes, limit); }

  // A permutation looks up 128 bytes by the low seven bits of an index; the top bit selects between two of them.
  template <int entries>
  struct Index {
    explicit Index(Vector indices) : bytes(indices) {
      if constexpr (entries > 128) top_bit = _mm512_movepi8_mask(indices);
    }
    Vector bytes;
    __mmask64 top_bit = 0;
  };

  template <int entries>
  struct Table {
    static constexpr int vectors = entries <= 64 ? 1 : entries <= 128 ? 2 : 4;
    Vector part[vectors];

    void load(const std::uint8_t* bytes) {
      for (int v = 0; v < vectors; ++v) part[v] = Avx512::load(bytes + 64 * v);
    }
    Vector at(const Index<entries>& index) const {
      if constexpr (vectors == 1) {
        return _mm512_permutexvar_epi8(index.bytes, part[0]);
      } else if constexpr (vectors == 2) {
        return _mm512_permutex2var_epi8(part[0], index.bytes, part[1]);
      } else {
        return _mm512_mask_mov_epi8(_mm512_permutex2var_epi8(part[0], index.bytes, part[1]), index.top_bit,
                                    _mm512_permutex2var_epi8(part[2], index.bytes, part[3]));
      }
    }
  };

  static Total zero() { return _mm512_setzero_si512(); }
  static Total dot(Total total, Vector values, Vector weights) { return _mm512_dpbusd_epi32(total, values, weights); }
  static std::uint32_t sum(Total total) { return static_cast<std::uint32_t>(_mm512_reduce_add_epi32(total)); }
};

struct Avx512Floats {
  static constexpr int lanes = 16;
  using Vector = __m512;

  static Vector load(const float* from) { return _mm512_loadu_ps(from); }
  static Vector splat(float value) { return _mm512_set1_ps(value); }
  static Vector add_product(Vector sum, Vector a, Vector b) { return _mm512_fmadd_ps(a, b, sum); }
  static std::uint32_t at_most(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
};

}  // namespace

const Kernels& avx512_kernels() {
  static constexpr Kernels level{
      .name = "avx512",
      .sum_block_runs = sum_block_runs<Avx512>,
      .sum_small_clusters = sum_small_clusters,
      .sum_weighted_euclidean = sum_weighted_euclidean,
      .within_radius = within_radius<Avx512>,
      .hamming_distances = hamming_distances<Avx512>,
      .update_nearest = update_nearest<Avx512>,
      .screen = screen<Avx512Floats>,
      .nearest_centroids = nearest_centroids,
      .seeding_potentials = seeding_potentials,
      .mixture_posteriors = mixture_posteriors,
      .add_posteriors = add_posteriors,
  };
  return level;
}

}  // namespace facetools
#endif
