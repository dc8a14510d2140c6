#include "codes/kmeans.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <mutex>

#include "codes/aligned_array.hpp"
#include "codes/code_blocks.hpp"
#include "codes/splitmix64.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

constexpr std::size_t grain = 4096;
constexpr std::size_t group_size = 8;  // centroids that the kernels process together
constexpr double infinity = std::numeric_limits<double>::infinity();

// The bytes of the codes begin to end - 1: (end - begin, planes).
std::vector<std::uint8_t> rows_of_bytes(const Codes& codes, std::size_t begin, std::size_t end, std::size_t planes) {
  std::vector<std::uint8_t> bytes((end - begin) * planes);
  std::uint8_t* next = bytes.data();
  for (std::size_t i = begin; i < end; ++i)
    for (std::size_t p = 0; p < planes; ++p) *next++ = code_byte(codes[i], static_cast<int>(p));
  return bytes;
}

// What each byte value adds to the squared distance to each centroid: the tables of simd/centroid_tables.hpp. The
// padding of the last group is infinitely far.
class CentroidTables {
 public:
  // centroids: (clusters, attributes).
  CentroidTables(const double* centroids, std::size_t clusters, std::size_t attributes, const double* values)
      : planes_(plane_count(attributes)),
        groups_((clusters + group_size - 1) / group_size),
        entries_(make_aligned<double>(planes_ * 256 * group_size * groups_)) {
    const std::size_t width = group_size * groups_;
    std::vector<double> nibbles(2 * 16 * width);  // the entries of the lower and the upper four bits of a plane
    for (std::size_t p = 0; p < planes_; ++p) {
      std::fill(nibbles.begin(), nibbles.end(), 0.0);
      for (std::size_t a = 8 * p; a < std::min(attributes, 8 * p + 8); ++a)
        for (std::size_t nibble = 0; nibble < 16; ++nibble) {
          const double bit = nibble >> (a % 4) & 1, value = values ? values[a] : 1;
          double* entries = &nibbles[(a % 8 / 4 * 16 + nibble) * width];
          for (std::size_t c = 0; c < clusters; ++c) {
            const double difference = bit - centroids[c * attributes + a];
            entries[c] += value * (difference * difference);
          }
        }
      for (std::size_t padding = clusters; padding < nibbles.size(); padding += width)
        std::fill_n(&nibbles[padding], width - clusters, infinity);
      for (std::size_t byte = 0; byte < 256; ++byte) {
        const double *lower = &nibbles[byte % 16 * width], *upper = &nibbles[(16 + byte / 16) * width];
        double* entries = &entries_[(p * 256 + byte) * width];
        for (std::size_t c = 0; c < width; ++c) entries[c] = lower[c] + upper[c];
      }
    }
  }

  // rows: (count, planes). The arguments are those of the kernels of the same name.
  void nearest_centroids(const std::uint8_t* rows, std::size_t count, std::int32_t first, double* distances,
                         std::int32_t* labels) const {
    kernels().nearest_centroids(entries_.get(), planes_, groups_, rows, count, first, distances, labels);
  }

  void seeding_potentials(const std::uint8_t* rows, std::size_t count, const double* weights, const double* distances,
                          double* sums) const {
    kernels().seeding_potentials(entries_.get(), planes_, rows, count, weights, distances, sums);
  }

 private:
  std::size_t planes_, groups_;
  AlignedArray<double> entries_;  // (planes, 256, 8 groups)
};

// The state of k-means++: the squared distance of each code to its nearest seed.
class Seeding {
 public:
  Seeding(const Codes& codes, const std::int64_t* counts, std::size_t attributes, std::uint64_t seed,
          const double* values, int threads)
      : codes_(codes),
        attributes_(attributes),
        planes_(plane_count(attributes)),
        bytes_(rows_of_bytes(codes, 0, codes.size, planes_)),
        values_(values),
        threads_(threads),
        random_(seed),
        weights_(counts, counts + codes.size),
        distances_(codes.size, infinity),
        labels_(codes.size),
        is_seed_(codes.size) {}

  // Draws codes in proportion to weights times squared distances, or to the weights alone before the first seed.
  std::vector<std::size_t> draw(std::size_t draws) {
    const bool first_seed = distances_[0] == infinity;
    const auto mass = [&](std::size_t i) { return first_seed ? weights_[i] : weights_[i] * distances_[i]; };
    double total = 0;
    for (std::size_t i = 0; i < codes_.size; ++i) total += mass(i);
    std::vector<double> thresholds(draws);
    for (double& threshold : thresholds) threshold = random_.next_uniform() * total;
    std::sort(thresholds.begin(), thresholds.end());
    // A code is drawn where the running sum of masses passes a threshold.
    std::vector<std::size_t> drawn;
    double sum = 0;
    std::size_t last = codes_.size;
    for (std::size_t i = 0; i < codes_.size && drawn.size() < draws; ++i) {
      if (mass(i) == 0) continue;
      last = i;
      sum += mass(i);
      while (drawn.size() < draws && thresholds[drawn.size()] < sum) drawn.push_back(i);
    }
    if (last == codes_.size)  // every code is at distance 0 from a seed
      last = static_cast<std::size_t>(std::find(is_seed_.begin(), is_seed_.end(), false) - is_seed_.begin());
    drawn.resize(draws, last);
    return drawn;
  }

  // The candidate, of at most 8, that leaves the smallest sum of weights times squared distances (the potential).
  std::size_t best_candidate(const std::vector<std::size_t>& candidates) {
    const CentroidTables tables = tables_of(candidates);
    const std::size_t ranges = (codes_.size + grain - 1) / grain;
    std::vector<std::array<double, group_size>> partial(ranges);
    parallel_ranges(threads_, codes_.size, grain, no_progress_, [&](std::size_t begin, std::size_t end) {
      tables.seeding_potentials(&bytes_[begin * planes_], end - begin, &weights_[begin], &distances_[begin],
                                partial[begin / grain].data());
    });
    std::array<double, group_size> potentials{};
    for (const auto& part : partial)
      for (std::size_t c = 0; c < group_size; ++c) potentials[c] += part[c];
    const auto end = potentials.begin() + static_cast<std::ptrdiff_t>(candidates.size());
    return candidates[static_cast<std::size_t>(std::min_element(potentials.begin(), end) - potentials.begin())];
  }

  void add_seed(std::size_t seed) {
    is_seed_[seed] = true;
    const CentroidTables tables = tables_of({seed});
    parallel_ranges(threads_, codes_.size, grain, no_progress_, [&](std::size_t begin, std::size_t end) {
      tables.nearest_centroids(&bytes_[begin * planes_], end - begin, 0, &distances_[begin], &labels_[begin]);
    });
  }

 private:
  CentroidTables tables_of(const std::vector<std::size_t>& seeds) const {
    std::vector<double> centroids;
    for (const std::size_t i : seeds)
      for (std::size_t a = 0; a < attributes_; ++a) centroids.push_back(codes_[i][a / 64] >> (a % 64) & 1);
    return {centroids.data(), seeds.size(), attributes_, values_};
  }

  const Codes& codes_;
  std::size_t attributes_, planes_;
  std::vector<std::uint8_t> bytes_;  // (d, planes)
  const double* values_;
  int threads_;
  SplitMix64 random_;
  std::vector<double> weights_;       // (d,) counts
  std::vector<double> distances_;     // (d,) squared distance to the nearest seed
  std::vector<std::int32_t> labels_;  // (d,) required by the kernel, not used
  std::vector<bool> is_seed_;         // (d,)
  Progress no_progress_{nullptr};
};

}  // namespace

void kmeans_assign(const Codes& codes, std::size_t attributes, const double* centroids, std::size_t clusters,
                   const double* values, std::int32_t* labels, double* distances, int threads, Progress& progress) {
  const std::size_t planes = plane_count(attributes);
  // Their tables take 2 KiB per plane and centroid, and should fit the second-level cache of a processor core.
  const std::size_t centroids_per_pass = std::clamp<std::size_t>(384 / planes / group_size * group_size, 8, 128);
  std::fill_n(distances, codes.size, infinity);
  std::fill_n(labels, codes.size, 0);
  for (std::size_t first = 0; first < clusters; first += centroids_per_pass) {
    const std::size_t last = std::min(clusters, first + centroids_per_pass);
    const CentroidTables tables(centroids + first * attributes, last - first, attributes, values);
    progress.start_phase(static_cast<double>(first) / static_cast<double>(clusters),
                         static_cast<double>(last) / static_cast<double>(clusters));
    parallel_ranges(threads, codes.size, grain, progress, [&](std::size_t begin, std::size_t end) {
      tables.nearest_centroids(rows_of_bytes(codes, begin, end, planes).data(), end - begin,
                               static_cast<std::int32_t>(first), distances + begin, labels + begin);
    });
  }
}

void kmeans_update(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                   std::size_t attributes, std::int64_t* sums, std::int64_t* sizes, int threads, Progress& progress) {
  std::fill_n(sums, clusters * attributes, 0);
  std::fill_n(sizes, clusters, 0);
  std::mutex sums_mutex;
  // One range per thread, as each adds up sums of its own.
  const std::size_t range = codes.size / static_cast<std::size_t>(std::clamp(threads, 1, 256)) + 1;
  parallel_ranges(threads, codes.size, range, progress, [&](std::size_t begin, std::size_t end) {
    std::vector<std::int64_t> range_sums(clusters * attributes), range_sizes(clusters);
    for (std::size_t i = begin; i < end; ++i) {
      if (labels[i] < 0) continue;
      const auto cluster = static_cast<std::size_t>(labels[i]);
      range_sizes[cluster] += counts[i];
      for (std::size_t w = 0; 64 * w < attributes; ++w)
        for (std::uint64_t bits = codes[i][w]; bits; bits &= bits - 1)
          range_sums[cluster * attributes + 64 * w + static_cast<std::size_t>(__builtin_ctzll(bits))] += counts[i];
    }
    const std::lock_guard lock(sums_mutex);  // integers: the order of the ranges does not matter
    for (std::size_t k = 0; k < range_sums.size(); ++k) sums[k] += range_sums[k];
    for (std::size_t c = 0; c < clusters; ++c) sizes[c] += range_sizes[c];
  });
}

std::vector<std::int64_t> kmeans_seed(const Codes& codes, const std::int64_t* counts, std::size_t attributes,
                                      std::size_t clusters, std::uint64_t seed, const double* values, int threads,
                                      Progress& progress) {
  Seeding seeding(codes, counts, attributes, seed, values, threads);
  const auto candidates =
      std::min<std::size_t>(group_size, 2 + static_cast<std::size_t>(std::log(static_cast<double>(clusters))));
  std::vector<std::int64_t> seeds;
  while (seeds.size() < clusters) {
    const std::size_t next = seeds.empty() ? seeding.draw(1)[0] : seeding.best_candidate(seeding.draw(candidates));
    seeding.add_seed(next);
    seeds.push_back(static_cast<std::int64_t>(next));
    progress(static_cast<double>(seeds.size()) / static_cast<double>(clusters));
  }
  return seeds;
}

}  // namespace facetools
