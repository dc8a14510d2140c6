// The kernels over all pairs, one set a SIMD level, and the choice of the level at run time.
//
// Every sum is one of integers, so that each level equals the portable one bit for bit, whatever its order.
#pragma once

#include <cstddef>
#include <cstdint>

namespace facetools {

// A function of the Hamming distance in fixed point: value(h) = round(f(h) 2^43) < 2^48, 0 <= h <= 256.
//
// Sums of weight * value are kept as two integers, of the lower and of the upper 24 bits of the value: enough for 2^40
// faces.
struct DistanceTable {
  static constexpr int digits = 6;
  std::uint64_t value[257];
  alignas(64) std::uint8_t digit[digits][256];  // digit[k][h] = byte k of value[h]
};

struct Sum {
  std::uint64_t low = 0, high = 0;
};

inline double fixed_point(const Sum& sum) {
  return (static_cast<double>(sum.high) * 0x1p24 + static_cast<double>(sum.low)) * 0x1p-43;
}

// Consecutive blocks whose sums go, times 2^shift, to one cluster.
struct Run {
  static constexpr std::uint32_t max_blocks = 64;
  static constexpr int weight_bits = 6;  // so that 64 blocks of digits (255) times weights (63) fit 32 bits by far
  std::uint32_t first, blocks, cluster, shift;
};

// The codes of clusters too small to fill a block, one by one.
struct Loose {
  const std::uint64_t* codes;
  const std::int64_t* counts;
  const std::uint32_t* clusters;
  std::size_t size;
};

// Codes of weighted attributes, cluster after cluster in groups of 8: (groups, width, 8), with counts (groups, 8) that
// are 0 for the places beyond the last code of a cluster. tables: (planes, 256), the squared weights of each byte.
struct Weighted {
  const std::uint64_t* codes;
  const double* counts;
  const std::size_t* groups;  // of each cluster
  const double* tables;
  std::size_t clusters;
  int width, planes;
};

// Clusters of faces in blocks of 32 for the screening of nearest neighbours: 32 floats for each attribute, then 32
// offsets and 32 slopes.
struct Screen {
  static constexpr int block = 32;
  static constexpr int rows = 4;  // screened at once
};

struct Kernels {
  const char* name;

  // sums[r * clusters + run.cluster] += sum of weight * value(distance) between row r and the codes of each run.
  // blocks: as in blocks.hpp; rows: (count, planes) bytes.
  void (*sum_runs)(const std::uint8_t* blocks, int planes, const Run* runs, std::size_t run_count,
                   const std::uint8_t* rows, std::size_t row_count, const DistanceTable& table, Sum* sums,
                   std::size_t clusters);

  // The same between one row, of that many words, and loose codes.
  void (*sum_loose)(const Loose& loose, const std::uint64_t* row, int width, const DistanceTable& table, Sum* sums);

  // sums[c] = sum of count * root of squared distance between the row and the codes of cluster c.
  void (*root_sums)(const Weighted& data, const std::uint64_t* row, double* sums);

  // masks[b] = bit i is set where code i of block b lies within radius of the row (planes bytes).
  void (*within)(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                 std::uint32_t radius, std::uint64_t* masks);

  // out[64 b + i] = the distance, modulo 256, between the row (planes bytes) and code i of block b.
  void (*distances)(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                    std::uint8_t* out);

  // nearest[64 b + i] = the smaller of itself and that distance, but the weight of the place where that is larger.
  // Returns the least of them.
  std::uint8_t (*approach)(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                           std::uint8_t* nearest);

  // masks[r * block_count + b] = bit j is set where, for cluster j of block b,
  // offset[j] - slopes[r] * slope[j] + sum over a of rows[4 a + r] * cluster[j][a] <= limits[r], or about so.
  void (*screen)(const float* blocks, int attributes, std::size_t block_count, const float* rows, const float* slopes,
                 const float* limits, std::uint32_t* masks);

  // The nearest of 8 * groups centroids, numbered from first, to each row (planes bytes): distances and labels are
  // replaced where a centroid is nearer, or as near with a smaller number. tables: as in centroids.hpp.
  void (*nearest)(const double* tables, std::size_t planes, std::size_t groups, const std::uint8_t* rows,
                  std::size_t count, std::int32_t first, double* distances, std::int32_t* labels);

  // sums[c] = sum over the rows of weight times the lesser of distance and the distance to centroid c, for 8 of them.
  void (*potentials)(const double* tables, std::size_t planes, const std::uint8_t* rows, std::size_t count,
                     const double* weights, const double* distances, double* sums);
};

// The level of this process: the best the processor has, or the one that FACETOOLS_SIMD names.
const Kernels& kernels();

// The same, fit for codes of that many bits: a distance of 256 does not fit the bytes of a vector.
const Kernels& kernels_for(std::size_t bits);

const Kernels& portable_kernels();
#if defined(__x86_64__)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
#elif defined(__aarch64__)
const Kernels& neon_kernels();
#endif

}  // namespace facetools
