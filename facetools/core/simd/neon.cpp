// The kernels for NEON: 16 bytes or 4 floats per vector.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "simd/byte_vector_kernels.hpp"

namespace facetools {

namespace {

struct Neon {
  static constexpr int lanes = 16;
  using Vector = uint8x16_t;
  using Total = uint32x4_t;

  static Vector load(const std::uint8_t* bytes) { return vld1q_u8(bytes); }
  static void store(std::uint8_t* bytes, Vector a) { vst1q_u8(bytes, a); }
  static Vector min(Vector a, Vector b) { return vminq_u8(a, b); }
  static Vector max(Vector a, Vector b) { return vmaxq_u8(a, b); }
  static Vector splat(std::uint8_t byte) { return vdupq_n_u8(byte); }
  static Vector distance(Vector a, Vector b) { return vcntq_u8(veorq_u8(a, b)); }
  static Vector add(Vector a, Vector b) { return vaddq_u8(a, b); }
  static std::uint64_t at_most(Vector bytes, Vector limit) {
    const Vector bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    Vector set = vandq_u8(vcleq_u8(bytes, limit), bit);
    for (int fold = 0; fold < 3; ++fold) set = vpaddq_u8(set, set);
    return vgetq_lane_u16(vreinterpretq_u16_u8(set), 0);
  }

  template <int entries>
  struct Index {
    explicit Index(Vector indices) : bytes(indices) {}
    Vector bytes;
  };

  template <int entries>
  struct Table {
    static constexpr int parts = (entries + 63) / 64;
    uint8x16x4_t part[parts];

    void load(const std::uint8_t* bytes) {
      for (int v = 0; v < parts; ++v) part[v] = {{Neon::load(bytes + 64 * v), Neon::load(bytes + 64 * v + 16),
                                                  Neon::load(bytes + 64 * v + 32), Neon::load(bytes + 64 * v + 48)}};
    }
    // A lookup returns 0 for indices outside the 64 bytes of its part.
    Vector at(const Index<entries>& index) const {
      Vector result = vqtbl4q_u8(part[0], index.bytes);
      for (int v = 1; v < parts; ++v)
        result = vorrq_u8(result, vqtbl4q_u8(part[v], vsubq_u8(index.bytes, splat(static_cast<std::uint8_t>(64 * v)))));
      return result;
    }
  };

  static Total zero() { return vdupq_n_u32(0); }
  static Total dot(Total total, Vector values, Vector weights) {
    total = vpadalq_u16(total, vmull_u8(vget_low_u8(values), vget_low_u8(weights)));
    return vpadalq_u16(total, vmull_high_u8(values, weights));
  }
  static std::uint32_t sum(Total total) { return vaddvq_u32(total); }
};

struct NeonFloats {
  static constexpr int lanes = 4;
  using Vector = float32x4_t;

  static Vector load(const float* from) { return vld1q_f32(from); }
  static Vector splat(float value) { return vdupq_n_f32(value); }
  static Vector add_product(Vector sum, Vector a, Vector b) { return vfmaq_f32(sum, a, b); }
  static std::uint32_t at_most(Vector a, Vector b) {
    const std::uint32_t bits[] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcleq_f32(a, b), vld1q_u32(bits)));
  }
};

}  // namespace

const Kernels& neon_kernels() {
  static constexpr Kernels level{
      .name = "neon",
      .sum_block_runs = sum_block_runs<Neon>,
      .sum_small_clusters = sum_small_clusters,
      .sum_weighted_euclidean = sum_weighted_euclidean,
      .within_radius = within_radius<Neon>,
      .hamming_distances = hamming_distances<Neon>,
      .update_nearest = update_nearest<Neon>,
      .screen = screen<NeonFloats>,
      .nearest_centroids = nearest_centroids,
      .seeding_potentials = seeding_potentials,
      .mixture_posteriors = mixture_posteriors,
      .add_posteriors = add_posteriors,
  };
  return level;
}

}  // namespace facetools
#endif
