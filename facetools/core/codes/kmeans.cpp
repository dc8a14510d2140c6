#include "codes/kmeans.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "codes/aligned.hpp"
#include "codes/blocks.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

constexpr std::size_t grain = 4096;
constexpr double infinite = std::numeric_limits<double>::infinity();

std::size_t planes_of(std::size_t attributes) { return std::max<std::size_t>(1, (attributes + 7) / 8); }

// The bytes of codes begin to end: (end - begin, planes).
std::vector<std::uint8_t> bytes_of(const Codes& codes, std::size_t begin, std::size_t end, std::size_t planes) {
  std::vector<std::uint8_t> bytes((end - begin) * planes);
  std::uint8_t* out = bytes.data();
  for (std::size_t i = begin; i < end; ++i)
    for (std::size_t p = 0; p < planes; ++p) *out++ = code_byte(codes[i], static_cast<int>(p));
  return bytes;
}

// What each byte of a code adds to its squared distance to each centroid: (planes, 256, 8 groups); infinite for the
// places beyond the last centroid.
class Tables {
 public:
  Tables(const double* centroids, std::size_t clusters, std::size_t attributes, const double* values)
      : planes_(planes_of(attributes)),
        groups_((clusters + 7) / 8),
        entries_(aligned<double>(planes_ * 256 * 8 * groups_)) {
    const std::size_t width = 8 * groups_;
    std::vector<double> half(2 * 16 * width);  // of the lower and the upper four bits of a plane
    for (std::size_t p = 0; p < planes_; ++p) {
      std::fill(half.begin(), half.end(), 0.0);
      for (std::size_t a = 8 * p; a < std::min(attributes, 8 * p + 8); ++a)
        for (std::size_t bits = 0; bits < 16; ++bits) {
          const double bit = bits >> (a % 4) & 1, value = values ? values[a] : 1;
          double* out = &half[(a % 8 / 4 * 16 + bits) * width];
          for (std::size_t c = 0; c < clusters; ++c) {
            const double apart = bit - centroids[c * attributes + a];
            out[c] += value * (apart * apart);
          }
        }
      for (std::size_t at = clusters; at < half.size(); at += width)
        std::fill_n(&half[at], width - clusters, infinite);
      for (std::size_t byte = 0; byte < 256; ++byte) {
        const double *lower = &half[byte % 16 * width], *upper = &half[(16 + byte / 16) * width];
        double* out = &entries_[(p * 256 + byte) * width];
        for (std::size_t c = 0; c < width; ++c) out[c] = lower[c] + upper[c];
      }
    }
  }

  // rows: (count, planes) bytes of codes.
  void nearest(const std::uint8_t* rows, std::size_t count, std::int32_t first, double* distances,
               std::int32_t* labels) const {
    kernels().nearest(entries_.get(), planes_, groups_, rows, count, first, distances, labels);
  }

  void potentials(const std::uint8_t* rows, std::size_t count, const double* weights, const double* distances,
                  double* sums) const {
    kernels().potentials(entries_.get(), planes_, rows, count, weights, distances, sums);
  }

 private:
  std::size_t planes_, groups_;
  Aligned<double> entries_;
};

// SplitMix64 (Steele, Lea, Flood 2014), as numbers in [0, 1).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  double operator()() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

class Seeding {
 public:
  Seeding(const Codes& codes, const std::int64_t* counts, std::size_t attributes, std::uint64_t seed,
          const double* values, int threads)
      : codes_(codes),
        attributes_(attributes),
        planes_(planes_of(attributes)),
        bytes_(bytes_of(codes, 0, codes.size, planes_)),
        values_(values),
        threads_(threads),
        random_(seed),
        weights_(counts, counts + codes.size),
        distances_(codes.size, infinite),
        labels_(codes.size),
        chosen_(codes.size) {}

  // The first codes past shares of the summed weights times distances; before the first seed, of the weights alone.
  std::vector<std::size_t> draw(std::size_t draws) {
    const bool first = distances_[0] == infinite;
    const auto amount = [&](std::size_t i) { return first ? weights_[i] : weights_[i] * distances_[i]; };
    double total = 0;
    for (std::size_t i = 0; i < codes_.size; ++i) total += amount(i);
    std::vector<double> marks(draws);
    for (double& mark : marks) mark = random_() * total;
    std::sort(marks.begin(), marks.end());
    std::vector<std::size_t> drawn;
    double sum = 0;
    std::size_t last = codes_.size;
    for (std::size_t i = 0; i < codes_.size && drawn.size() < draws; ++i) {
      if (amount(i) == 0) continue;
      last = i;
      sum += amount(i);
      while (drawn.size() < draws && marks[drawn.size()] < sum) drawn.push_back(i);
    }
    if (last == codes_.size)  // all codes lie on seeds
      last = static_cast<std::size_t>(std::find(chosen_.begin(), chosen_.end(), false) - chosen_.begin());
    drawn.resize(draws, last);
    return drawn;
  }

  // The candidate that leaves the least sum of distances.
  std::size_t best(const std::vector<std::size_t>& candidates) {
    const Tables tables = tables_of(candidates);
    const std::size_t ranges = (codes_.size + grain - 1) / grain;
    std::vector<std::array<double, 8>> parts(ranges);
    parallel_ranges(threads_, codes_.size, grain, silent_, [&](std::size_t begin, std::size_t end) {
      tables.potentials(&bytes_[begin * planes_], end - begin, &weights_[begin], &distances_[begin],
                        parts[begin / grain].data());
    });
    std::array<double, 8> sums{};
    for (const auto& part : parts)
      for (std::size_t c = 0; c < 8; ++c) sums[c] += part[c];
    const auto last = sums.begin() + static_cast<std::ptrdiff_t>(candidates.size());
    return candidates[static_cast<std::size_t>(std::min_element(sums.begin(), last) - sums.begin())];
  }

  void choose(std::size_t seed) {
    chosen_[seed] = true;
    const Tables tables = tables_of({seed});
    parallel_ranges(threads_, codes_.size, grain, silent_, [&](std::size_t begin, std::size_t end) {
      tables.nearest(&bytes_[begin * planes_], end - begin, 0, &distances_[begin], &labels_[begin]);
    });
  }

 private:
  Tables tables_of(const std::vector<std::size_t>& seeds) const {
    std::vector<double> centroids;
    for (const std::size_t i : seeds)
      for (std::size_t a = 0; a < attributes_; ++a) centroids.push_back(codes_[i][a / 64] >> (a % 64) & 1);
    return {centroids.data(), seeds.size(), attributes_, values_};
  }

  const Codes& codes_;
  std::size_t attributes_, planes_;
  std::vector<std::uint8_t> bytes_;  // (codes, planes)
  const double* values_;
  int threads_;
  Random random_;
  std::vector<double> weights_;
  std::vector<double> distances_;  // of each code to its nearest seed
  std::vector<std::int32_t> labels_;
  std::vector<bool> chosen_;
  Progress silent_{nullptr};
};

}  // namespace

void kmeans_assign(const Codes& codes, std::size_t attributes, const double* centroids, std::size_t clusters,
                   const double* values, std::int32_t* labels, double* distances, int threads, Progress& progress) {
  const std::size_t planes = planes_of(attributes);
  // So many centroids at once that their tables, of 2 KiB a plane each, stay in a processor's own cache.
  const std::size_t at_once = std::clamp<std::size_t>(384 / planes / 8 * 8, 8, 128);
  std::fill_n(distances, codes.size, infinite);
  std::fill_n(labels, codes.size, 0);
  for (std::size_t first = 0; first < clusters; first += at_once) {
    const std::size_t last = std::min(clusters, first + at_once);
    const Tables tables(centroids + first * attributes, last - first, attributes, values);
    progress.phase(static_cast<double>(first) / static_cast<double>(clusters),
                   static_cast<double>(last) / static_cast<double>(clusters));
    parallel_ranges(threads, codes.size, grain, progress, [&](std::size_t begin, std::size_t end) {
      tables.nearest(bytes_of(codes, begin, end, planes).data(), end - begin, static_cast<std::int32_t>(first),
                     distances + begin, labels + begin);
    });
  }
}

void kmeans_update(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                   std::size_t attributes, std::int64_t* sums, std::int64_t* sizes, int threads, Progress& progress) {
  std::fill_n(sums, clusters * attributes, 0);
  std::fill_n(sizes, clusters, 0);
  std::mutex guard;
  const std::size_t share = codes.size / static_cast<std::size_t>(std::max(threads, 1)) + 1;
  parallel_ranges(threads, codes.size, share, progress, [&](std::size_t begin, std::size_t end) {
    std::vector<std::int64_t> part(clusters * attributes), faces(clusters);
    for (std::size_t i = begin; i < end; ++i) {
      if (labels[i] < 0) continue;
      const auto cluster = static_cast<std::size_t>(labels[i]);
      faces[cluster] += counts[i];
      for (std::size_t w = 0; 64 * w < attributes; ++w)
        for (std::uint64_t bits = codes[i][w]; bits; bits &= bits - 1)
          part[cluster * attributes + 64 * w + static_cast<std::size_t>(__builtin_ctzll(bits))] += counts[i];
    }
    const std::lock_guard lock(guard);  // sums of integers: the order does not matter
    for (std::size_t at = 0; at < part.size(); ++at) sums[at] += part[at];
    for (std::size_t c = 0; c < clusters; ++c) sizes[c] += faces[c];
  });
}

std::vector<std::int64_t> kmeans_seed(const Codes& codes, const std::int64_t* counts, std::size_t attributes,
                                      std::size_t clusters, std::uint64_t seed, const double* values, int threads,
                                      Progress& progress) {
  Seeding seeding(codes, counts, attributes, seed, values, threads);
  const auto trials = std::min<std::size_t>(8, 2 + static_cast<std::size_t>(std::log(static_cast<double>(clusters))));
  std::vector<std::int64_t> seeds;
  while (seeds.size() < clusters) {
    const std::size_t next = seeds.empty() ? seeding.draw(1)[0] : seeding.best(seeding.draw(trials));
    seeding.choose(next);
    seeds.push_back(static_cast<std::int64_t>(next));
    progress(static_cast<double>(seeds.size()) / static_cast<double>(clusters));
  }
  return seeds;
}

}  // namespace facetools
