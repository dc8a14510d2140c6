#include "codes/silhouette.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "codes/code_blocks.hpp"
#include "codes/weighted_hamming.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

struct LabeledCodes {
  const Codes& codes;
  const std::int64_t* counts;
  const std::int32_t* labels;
  std::size_t clusters;
  std::size_t attributes;
  std::vector<std::int64_t> cluster_faces;  // (clusters,)

  std::size_t planes() const { return plane_count(attributes); }

  // The codes of each cluster in ascending order.
  std::vector<std::vector<std::uint32_t>> members() const {
    std::vector<std::vector<std::uint32_t>> result(clusters);
    for (std::size_t i = 0; i < codes.size; ++i)
      if (labels[i] >= 0) result[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::uint32_t>(i));
    return result;
  }
};

// Computes s of one code from the sums of distances to all clusters, which are added in any order.
class SilhouetteSample {
 public:
  void add_cluster(bool is_own, double distance_sum, std::int64_t faces) {
    if (is_own) {
      a_ = faces > 1 ? distance_sum / static_cast<double>(faces - 1) : -1;
    } else if (faces > 0) {
      b_ = std::min(b_, distance_sum / static_cast<double>(faces));
    }
  }

  double value() const {
    const double larger = std::max(a_, b_);
    return a_ < 0 || larger == 0 ? 0 : (b_ - a_) / larger;
  }

 private:
  double a_ = -1;  // negative in a cluster of one face
  double b_ = std::numeric_limits<double>::infinity();
};

// Euclidean metric without weights: the distance is the square root of the Hamming distance.
//
// Each cluster has blocks of its own. The kernels need weights below 64, so a count is written in base 64: each of its
// digits is the weight of one copy of the code, in the run of blocks of that digit. Most counts have one digit. The
// codes of small clusters would waste most of a block and are stored without blocks.
class EuclideanSums {
 public:
  static constexpr std::size_t min_blocked_codes = 24;  // clusters of fewer codes are stored without blocks

  explicit EuclideanSums(const LabeledCodes& data) : data_(data), blocks_(static_cast<int>(data.planes()), 0) {
    for (std::size_t h = 0; h <= 256; ++h)
      table_.value[h] = static_cast<std::uint64_t>(std::llround(std::sqrt(static_cast<double>(h)) * 0x1p43));
    for (int k = 0; k < DistanceTable::value_bytes; ++k)
      for (std::size_t h = 0; h < 256; ++h)
        table_.byte[k][h] = static_cast<std::uint8_t>(table_.value[h] >> (8 * k));
    store_codes();
  }

  // Writes the sums of distances of the codes begin to end - 1 to all clusters: (end - begin, clusters).
  void sum(std::size_t begin, std::size_t end, std::vector<FixedPointSum>& sums) const {
    sums.assign((end - begin) * data_.clusters, FixedPointSum{});
    std::vector<std::uint8_t> rows;
    for (std::size_t i = begin; i < end; ++i)
      for (int p = 0; p < blocks_.planes(); ++p) rows.push_back(code_byte(data_.codes[i], p));
    const Kernels& level = kernels_for(data_.attributes);
    level.sum_block_runs(blocks_[0], blocks_.planes(), runs_.data(), runs_.size(), rows.data(), end - begin, table_,
                         sums.data(), data_.clusters);
    const SmallClusters small{small_codes_.data(), small_counts_.data(), small_clusters_.data(), small_counts_.size()};
    for (std::size_t i = begin; i < end; ++i)
      level.sum_small_clusters(small, data_.codes[i], data_.codes.width, table_, &sums[(i - begin) * data_.clusters]);
  }

 private:
  void store_codes() {
    struct Entry {
      std::size_t position;
      std::uint32_t code;
      std::uint8_t weight;
    };
    std::vector<Entry> entries;
    std::size_t blocks = 0;
    const auto members = data_.members();
    for (std::size_t c = 0; c < data_.clusters; ++c) {
      if (members[c].size() < min_blocked_codes) {
        for (const std::uint32_t i : members[c]) store_small(i, c);
        continue;
      }
      bool has_more_digits = true;
      for (std::uint32_t shift = 0; has_more_digits; shift += BlockRun::weight_bits) {
        const std::size_t first = blocks * block_size;
        std::size_t position = first;
        has_more_digits = false;
        for (const std::uint32_t i : members[c]) {
          const std::int64_t shifted = data_.counts[i] >> shift;
          if (const auto digit = static_cast<std::uint8_t>(shifted & 63)) entries.push_back({position++, i, digit});
          has_more_digits |= shifted > 63;
        }
        const std::size_t used = (position - first + block_size - 1) / block_size;
        for (std::size_t b = 0; b < used; b += BlockRun::max_blocks)
          runs_.push_back({static_cast<std::uint32_t>(blocks + b),
                           static_cast<std::uint32_t>(std::min<std::size_t>(BlockRun::max_blocks, used - b)),
                           static_cast<std::uint32_t>(c), shift});
        blocks += used;
      }
    }
    blocks_ = CodeBlocks(blocks_.planes(), blocks);
    for (const Entry& entry : entries) blocks_.set(entry.position, data_.codes[entry.code], entry.weight);
  }

  void store_small(std::size_t i, std::size_t cluster) {
    small_codes_.insert(small_codes_.end(), data_.codes[i], data_.codes[i] + data_.codes.width);
    small_counts_.push_back(data_.counts[i]);
    small_clusters_.push_back(static_cast<std::uint32_t>(cluster));
  }

  const LabeledCodes& data_;
  DistanceTable table_{};
  CodeBlocks blocks_;
  std::vector<BlockRun> runs_;
  std::vector<std::uint64_t> small_codes_;
  std::vector<std::int64_t> small_counts_;
  std::vector<std::uint32_t> small_clusters_;
};

void euclidean_silhouette(const LabeledCodes& data, double* samples, int threads, Progress& progress) {
  const EuclideanSums euclidean(data);
  const std::size_t rows_per_task = std::clamp<std::size_t>(32768 / data.clusters, 1, 256);
  parallel_ranges(threads, data.codes.size, rows_per_task, progress, [&](std::size_t begin, std::size_t end) {
    std::vector<FixedPointSum> sums;
    euclidean.sum(begin, end, sums);
    for (std::size_t i = begin; i < end; ++i) {
      if (data.labels[i] < 0) continue;
      const auto own = static_cast<std::size_t>(data.labels[i]);
      SilhouetteSample sample;
      for (std::size_t c = 0; c < data.clusters; ++c)
        sample.add_cluster(c == own, to_double(sums[(i - begin) * data.clusters + c]), data.cluster_faces[c]);
      samples[i] = sample.value();
    }
  });
}

// Euclidean metric with weights: the distance is the square root of the Hamming distance weighted by their squares.
class WeightedEuclideanSums {
 public:
  WeightedEuclideanSums(const LabeledCodes& data, const double* weights)
      : data_(data), squared_distance_(data.attributes, squares(weights, data.attributes).data()) {
    constexpr std::size_t group_size = 8;
    for (const auto& members : data.members()) {
      groups_.push_back((members.size() + group_size - 1) / group_size);
      for (std::size_t first = 0; first < members.size(); first += group_size) {
        for (int w = 0; w < data.codes.width; ++w)
          for (std::size_t k = first; k < first + group_size; ++k)
            codes_.push_back(k < members.size() ? data.codes[members[k]][w] : 0);
        for (std::size_t k = first; k < first + group_size; ++k)
          counts_.push_back(k < members.size() ? static_cast<double>(data.counts[members[k]]) : 0);
      }
    }
  }

  // Writes the sums of distances of a code to all clusters: (clusters,).
  void sum(const std::uint64_t* code, double* sums) const {
    kernels().sum_weighted_euclidean({codes_.data(), counts_.data(), groups_.data(), squared_distance_.tables(),
                                      groups_.size(), data_.codes.width, squared_distance_.planes()},
                                     code, sums);
  }

 private:
  static std::vector<double> squares(const double* weights, std::size_t attributes) {
    std::vector<double> result(weights, weights + attributes);
    for (double& value : result) value *= value;
    return result;
  }

  const LabeledCodes& data_;
  WeightedHamming squared_distance_;
  std::vector<std::uint64_t> codes_;  // the fields of WeightedCodes
  std::vector<double> counts_;
  std::vector<std::size_t> groups_;
};

void weighted_euclidean_silhouette(const LabeledCodes& data, const double* weights, double* samples, int threads,
                                   Progress& progress) {
  constexpr std::size_t rows_per_task = 8;
  const WeightedEuclideanSums euclidean(data, weights);
  parallel_ranges(threads, data.codes.size, rows_per_task, progress, [&](std::size_t begin, std::size_t end) {
    std::vector<double> sums(data.clusters);
    for (std::size_t i = begin; i < end; ++i) {
      if (data.labels[i] < 0) continue;
      euclidean.sum(data.codes[i], sums.data());
      const auto own = static_cast<std::size_t>(data.labels[i]);
      SilhouetteSample sample;
      for (std::size_t c = 0; c < data.clusters; ++c) sample.add_cluster(c == own, sums[c], data.cluster_faces[c]);
      samples[i] = sample.value();
    }
  });
}

// Manhattan, squared Euclidean and cosine metrics: the distance is a sum of one term per attribute. With n faces in a
// cluster, sum[a] of them having attribute a, and v[a] = weight (manhattan) or weight^2 (others), the sum of the
// distances of a code x to the faces y of the cluster is
//
//   manhattan, sqeuclidean   sum over a of v[a] (x[a] ? n - sum[a] : sum[a])
//   cosine                   n - 1/|x| sum over a of v[a] x[a] sum[a],   where sum[a] adds up 1/|y| instead of 1
//
// It is computed with one table lookup per byte of the code, for a few clusters at a time.
class AdditiveSums {
 public:
  AdditiveSums(const LabeledCodes& data, Metric metric, const double* weights)
      : data_(data), cosine_(metric == Metric::cosine) {
    for (std::size_t a = 0; a < data.attributes; ++a) {
      const double weight = weights ? weights[a] : 1;
      values_.push_back(metric == Metric::manhattan ? weight : weight * weight);
    }
    sums_.assign(data.clusters * data.attributes, 0.0);
    for (std::size_t i = 0; i < data.codes.size; ++i) {
      if (data.labels[i] < 0) continue;
      const double term = static_cast<double>(data.counts[i]) * inverse_norm(i);
      double* sum = &sums_[static_cast<std::size_t>(data.labels[i]) * data.attributes];
      for (std::size_t w = 0; 64 * w < data.attributes; ++w)
        for (std::uint64_t bits = data.codes[i][w]; bits; bits &= bits - 1)
          sum[64 * w + static_cast<std::size_t>(__builtin_ctzll(bits))] += term;
    }
  }

  // Cosine: 1 / |x|, or 0 for a code without attributes. Other metrics: 1.
  double inverse_norm(std::size_t i) const {
    if (!cosine_) return 1;
    double square = 0;
    for (std::size_t a = 0; a < data_.attributes; ++a)
      if (data_.codes[i][a / 64] >> (a % 64) & 1) square += values_[a];
    return square > 0 ? 1 / std::sqrt(square) : 0;
  }

  // Fills the table (planes, 256) of cluster c: the sum over the attributes of each byte value.
  void fill_table(std::size_t c, double* table) const {
    const double* sum = &sums_[c * data_.attributes];
    for (std::size_t p = 0; p < data_.planes(); ++p)
      for (std::size_t byte = 0; byte < 256; ++byte) {
        double total = 0;
        for (std::size_t t = 0; t < 8 && 8 * p + t < data_.attributes; ++t) {
          const std::size_t a = 8 * p + t;
          const bool set = byte >> t & 1;
          if (cosine_)
            total += set ? values_[a] * sum[a] : 0;
          else
            total += values_[a] * (set ? static_cast<double>(data_.cluster_faces[c]) - sum[a] : sum[a]);
        }
        table[p * 256 + byte] = total;
      }
  }

  // The sum of the distances of code i to cluster c, from the table of c and inverse_norm(i).
  double distance_sum(std::size_t i, std::size_t c, const double* table, double inverse_norm) const {
    double total = 0;
    for (std::size_t p = 0; p < data_.planes(); ++p)
      total += table[p * 256 + code_byte(data_.codes[i], static_cast<int>(p))];
    if (!cosine_) return total;
    // The formula puts a face without attributes at distance 1 from itself; it is at distance 0.
    const bool counts_itself = inverse_norm == 0 && static_cast<std::size_t>(data_.labels[i]) == c;
    return std::max(0.0, static_cast<double>(data_.cluster_faces[c] - counts_itself) - inverse_norm * total);
  }

 private:
  const LabeledCodes& data_;
  bool cosine_;
  std::vector<double> values_;  // (attributes,)
  std::vector<double> sums_;    // (clusters, attributes)
};

void additive_silhouette(const LabeledCodes& data, Metric metric, const double* weights, double* samples, int threads,
                         Progress& progress) {
  constexpr std::size_t clusters_per_pass = 16, rows_per_task = 4096;
  const AdditiveSums additive(data, metric, weights);
  const std::size_t table_size = data.planes() * 256;
  std::vector<SilhouetteSample> partial(data.codes.size);
  std::vector<double> tables(clusters_per_pass * table_size);
  for (std::size_t first = 0; first < data.clusters; first += clusters_per_pass) {
    const std::size_t last = std::min(data.clusters, first + clusters_per_pass);
    progress.start_phase(static_cast<double>(first) / static_cast<double>(data.clusters),
                         static_cast<double>(last) / static_cast<double>(data.clusters));
    for (std::size_t c = first; c < last; ++c) additive.fill_table(c, &tables[(c - first) * table_size]);
    parallel_ranges(threads, data.codes.size, rows_per_task, progress, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        if (data.labels[i] < 0) continue;
        const double inverse_norm = additive.inverse_norm(i);
        for (std::size_t c = first; c < last; ++c)
          partial[i].add_cluster(
              static_cast<std::size_t>(data.labels[i]) == c,
              additive.distance_sum(i, c, &tables[(c - first) * table_size], inverse_norm), data.cluster_faces[c]);
      }
    });
  }
  for (std::size_t i = 0; i < data.codes.size; ++i)
    if (data.labels[i] >= 0) samples[i] = partial[i].value();
}

}  // namespace

double silhouette(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                  std::size_t attributes, Metric metric, const double* weights, double* samples, int threads,
                  Progress& progress) {
  LabeledCodes data{codes, counts, labels, clusters, attributes, std::vector<std::int64_t>(clusters)};
  for (std::size_t i = 0; i < codes.size; ++i)
    if (labels[i] >= 0) data.cluster_faces[static_cast<std::size_t>(labels[i])] += counts[i];

  std::fill_n(samples, codes.size, std::numeric_limits<double>::quiet_NaN());
  if (metric != Metric::euclidean)
    additive_silhouette(data, metric, weights, samples, threads, progress);
  else if (weights)
    weighted_euclidean_silhouette(data, weights, samples, threads, progress);
  else
    euclidean_silhouette(data, samples, threads, progress);

  double sum = 0;
  for (std::size_t i = 0; i < codes.size; ++i)
    if (labels[i] >= 0) sum += static_cast<double>(counts[i]) * samples[i];
  const auto faces = std::accumulate(data.cluster_faces.begin(), data.cluster_faces.end(), std::int64_t{0});
  return sum / static_cast<double>(faces);
}

}  // namespace facetools
