// The kernels over pairs of codes: a table of function pointers per SIMD level, chosen at run time.
//
// The portable level is the specification. The other levels return the same results bit for bit: most sums are sums of
// integers, and sums of doubles are taken in one fixed order. Only `screen` may round differently (see screen.hpp).
//
// Terms:
//   planes   bytes per code: ceil(attributes / 8), from 1 to 32
//   block    64 codes stored as byte planes, then 64 byte weights: 64 (planes + 1) bytes (codes/code_blocks.hpp)
//   row      one query code as `planes` bytes
//
// Limits:
//   attributes   256; the vector levels keep a distance in one byte, so at most 255 bits may differ (kernels_for)
//   faces        2^40 in total: FixedPointSum then stays below 2^64
#pragma once

#include <cstddef>
#include <cstdint>

namespace facetools {

// A function f of the Hamming distance in fixed point.
struct DistanceTable {
  static constexpr int value_bytes = 6;
  std::uint64_t value[257];                         // value[h] = round(f(h) 2^43), below 2^48
  alignas(64) std::uint8_t byte[value_bytes][256];  // byte[k][h] = byte k of value[h]
};

// A sum of weight * value as two integers. Each is a sum of 24-bit numbers, so that 2^40 faces cannot overflow it.
struct FixedPointSum {
  std::uint64_t low = 0;   // of the lower 24 bits of each value
  std::uint64_t high = 0;  // of the upper 24 bits of each value
};

inline double to_double(const FixedPointSum& sum) {
  return (static_cast<double>(sum.high) * 0x1p24 + static_cast<double>(sum.low)) * 0x1p-43;
}

// Consecutive blocks that contribute to the sum of one cluster.
struct BlockRun {
  static constexpr std::uint32_t max_blocks = 64;
  static constexpr int weight_bits = 6;  // 64 blocks x 64 codes x 255 (a value byte) x 63 (a weight) is below 2^32
  std::uint32_t first;                   // the first block
  std::uint32_t blocks;                  // number of blocks, at most max_blocks
  std::uint32_t cluster;
  std::uint32_t shift;  // the weights stand for weight * 2^shift faces
};

// The codes of clusters that are too small to fill a block.
struct SmallClusters {
  const std::uint64_t* codes;     // (size, width)
  const std::int64_t* counts;     // (size,) faces per code
  const std::uint32_t* clusters;  // (size,) cluster of each code
  std::size_t size;
};

// All codes in groups of 8. Each cluster starts a new group; the padding of its last group has count 0.
struct WeightedCodes {
  const std::uint64_t* codes;  // (groups, width, 8)
  const double* counts;        // (groups, 8) faces per code
  const std::size_t* groups;   // (clusters,) groups per cluster
  const double* tables;        // (planes, 256) sum of the squared attribute weights of each byte value
  std::size_t clusters;
  int width;  // words per code
  int planes;
};

// Layout of `screen`: blocks of 32 clusters, compared with 4 clusters (rows) at a time.
struct ScreenLayout {
  static constexpr int block_size = 32;
  static constexpr int rows = 4;
};

struct Kernels {
  const char* name;  // of the SIMD level

  // sums[r * clusters + run.cluster] += sum of weight * value[distance] between row r and the codes of each run.
  // rows: (row_count, planes).
  void (*sum_block_runs)(const std::uint8_t* blocks, int planes, const BlockRun* runs, std::size_t run_count,
                         const std::uint8_t* rows, std::size_t row_count, const DistanceTable& table,
                         FixedPointSum* sums, std::size_t clusters);

  // sums[cluster] += sum of count * value[distance] between one row of `width` words and the codes of small clusters.
  void (*sum_small_clusters)(const SmallClusters& data, const std::uint64_t* row, int width, const DistanceTable& table,
                             FixedPointSum* sums);

  // sums[c] = sum of count * weighted Euclidean distance between the row and the codes of cluster c.
  void (*sum_weighted_euclidean)(const WeightedCodes& data, const std::uint64_t* row, double* sums);

  // Bit i of masks[b] = the Hamming distance between the row and code i of block b is at most radius.
  void (*within_radius)(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                        std::uint32_t radius, std::uint64_t* masks);

  // distances[64 b + i] = the Hamming distance, modulo 256, between the row and code i of block b.
  void (*hamming_distances)(const std::uint8_t* blocks, int planes, std::size_t block_count, const std::uint8_t* row,
                            std::uint8_t* distances);

  // nearest[64 b + i] = max(weight, min(nearest[64 b + i], distance)) for code i of block b. A weight of 255 excludes
  // the code. Returns the minimum over all codes.
  std::uint8_t (*update_nearest)(const std::uint8_t* blocks, int planes, std::size_t block_count,
                                 const std::uint8_t* row, std::uint8_t* nearest);

  // Bit j of masks[r * block_count + b] = for cluster j of block b and row r, in float arithmetic,
  //   offset[j] - slopes[r] * slope[j] + sum over a of rows[4 a + r] * block[a][j] <= limits[r].
  // blocks: (block_count, attributes + 2, 32): a row of 32 floats per attribute, then the offsets and the slopes.
  void (*screen)(const float* blocks, int attributes, std::size_t block_count, const float* rows, const float* slopes,
                 const float* limits, std::uint32_t* masks);

  // Updates distances (count,) and labels (count,) of the rows where one of 8 * groups centroids, numbered from
  // `first`, is nearer, or as near with a smaller number. tables: see centroid_tables.hpp.
  void (*nearest_centroids)(const double* tables, std::size_t planes, std::size_t groups, const std::uint8_t* rows,
                            std::size_t count, std::int32_t first, double* distances, std::int32_t* labels);

  // sums[c] = sum over the rows of weight * min(distance, distance to centroid c), for 8 centroids.
  void (*seeding_potentials)(const double* tables, std::size_t planes, const std::uint8_t* rows, std::size_t count,
                             const double* weights, const double* distances, double* sums);

  // posteriors[i] (8 groups): the probability of each cluster for each of `count` rows. The log-likelihood of row i is
  // maxima[i] + log(sums[i]). log_weights: (8 groups,), 64-byte aligned like posteriors. tables: see mixture_tables.hpp.
  void (*mixture_posteriors)(const double* tables, std::size_t planes, std::size_t groups, const double* log_weights,
                             const std::uint8_t* rows, std::size_t count, double* posteriors, double* maxima,
                             double* sums);

  // histograms[p][v][c] += count * posterior of cluster c, over the rows whose byte p has value v. (planes, 256,
  // 8 groups), 64-byte aligned.
  void (*add_posteriors)(const double* posteriors, std::size_t groups, const std::uint8_t* rows, std::size_t planes,
                         std::size_t count, const double* counts, double* histograms);
};

// The level of this process: the best that the processor supports, or the one that FACETOOLS_SIMD names.
const Kernels& kernels();

// The level for codes that differ in up to `bits` bits: portable for 256, because that distance does not fit a byte.
const Kernels& kernels_for(std::size_t bits);

const Kernels& portable_kernels();
#if defined(__x86_64__)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
#elif defined(__aarch64__)
const Kernels& neon_kernels();
#endif

}  // namespace facetools
