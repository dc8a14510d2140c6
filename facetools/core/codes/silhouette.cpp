#include "codes/silhouette.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "codes/blocks.hpp"
#include "codes/pair_distance.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

struct Labelled {
  const Codes& codes;
  const std::int64_t* counts;
  const std::int32_t* labels;
  std::size_t clusters;
  std::size_t attributes;
  std::vector<std::int64_t> faces;  // (clusters,)

  std::size_t planes() const { return std::max<std::size_t>(1, (attributes + 7) / 8); }

  // The codes of each cluster, in the order given.
  std::vector<std::vector<std::uint32_t>> members() const {
    std::vector<std::vector<std::uint32_t>> result(clusters);
    for (std::size_t i = 0; i < codes.size; ++i)
      if (labels[i] >= 0) result[static_cast<std::size_t>(labels[i])].push_back(static_cast<std::uint32_t>(i));
    return result;
  }
};

// What one code knows of its surroundings: fed the sum of distances to every cluster, in any order.
class Sample {
 public:
  void meet(bool own, double sum, std::int64_t faces) {
    if (own) {
      within_ = faces > 1 ? sum / static_cast<double>(faces - 1) : -1;
    } else if (faces > 0) {
      nearest_ = std::min(nearest_, sum / static_cast<double>(faces));
    }
  }

  double score() const {
    const double larger = std::max(within_, nearest_);
    return within_ < 0 || larger == 0 ? 0 : (nearest_ - within_) / larger;
  }

 private:
  double within_ = -1, nearest_ = std::numeric_limits<double>::infinity();
};

// Euclidean distances of plain bits: square roots of popcounts, over all pairs of codes.
//
// The codes of a cluster lie in blocks of their own. A count is written in base 64, and each of its digits is a weight
// in a run of its own, so that weights fit a byte; nearly all codes have one digit. Clusters of a few codes would
// waste their blocks: theirs are kept loose.
class Pairs {
 public:
  static constexpr std::size_t few = 24;

  explicit Pairs(const Labelled& data) : data_(data), blocks_(static_cast<int>(data.planes()), 0) {
    for (std::size_t h = 0; h <= 256; ++h)
      table_.value[h] = static_cast<std::uint64_t>(std::llround(std::sqrt(static_cast<double>(h)) * 0x1p43));
    for (int k = 0; k < DistanceTable::digits; ++k)
      for (std::size_t h = 0; h < 256; ++h)
        table_.digit[k][h] = static_cast<std::uint8_t>(table_.value[h] >> (8 * k));
    place();
  }

  // sums: (end - begin, clusters), zeroed here.
  void sum(std::size_t begin, std::size_t end, std::vector<Sum>& sums) const {
    sums.assign((end - begin) * data_.clusters, Sum{});
    std::vector<std::uint8_t> rows;
    for (std::size_t i = begin; i < end; ++i)
      for (int p = 0; p < blocks_.planes(); ++p) rows.push_back(code_byte(data_.codes[i], p));
    const Kernels& level = kernels_for(data_.attributes);
    level.sum_runs(blocks_[0], blocks_.planes(), runs_.data(), runs_.size(), rows.data(), end - begin, table_,
                     sums.data(), data_.clusters);
    const Loose loose{loose_codes_.data(), loose_counts_.data(), loose_clusters_.data(), loose_counts_.size()};
    for (std::size_t i = begin; i < end; ++i)
      level.sum_loose(loose, data_.codes[i], data_.codes.width, table_, &sums[(i - begin) * data_.clusters]);
  }

 private:
  void place() {
    struct Placed {
      std::size_t place;
      std::uint32_t code;
      std::uint8_t weight;
    };
    std::vector<Placed> placed;
    std::size_t blocks = 0;
    const auto members = data_.members();
    for (std::size_t c = 0; c < data_.clusters; ++c) {
      if (members[c].size() < few) {
        for (const std::uint32_t i : members[c]) keep_loose(i, c);
        continue;
      }
      bool more = true;
      for (std::uint32_t shift = 0; more; shift += Run::weight_bits) {
        const std::size_t first = blocks * block_codes;
        std::size_t place = first;
        more = false;
        for (const std::uint32_t i : members[c]) {
          const std::int64_t rest = data_.counts[i] >> shift;
          if (const auto digit = static_cast<std::uint8_t>(rest & 63)) placed.push_back({place++, i, digit});
          more |= rest > 63;
        }
        const std::size_t filled = (place - first + block_codes - 1) / block_codes;
        for (std::size_t b = 0; b < filled; b += Run::max_blocks)
          runs_.push_back({static_cast<std::uint32_t>(blocks + b),
                           static_cast<std::uint32_t>(std::min<std::size_t>(Run::max_blocks, filled - b)),
                           static_cast<std::uint32_t>(c), shift});
        blocks += filled;
      }
    }
    blocks_ = Blocks(blocks_.planes(), blocks);
    for (const Placed& p : placed) blocks_.set(p.place, data_.codes[p.code], p.weight);
  }

  void keep_loose(std::size_t i, std::size_t cluster) {
    loose_codes_.insert(loose_codes_.end(), data_.codes[i], data_.codes[i] + data_.codes.width);
    loose_counts_.push_back(data_.counts[i]);
    loose_clusters_.push_back(static_cast<std::uint32_t>(cluster));
  }

  const Labelled& data_;
  DistanceTable table_{};
  Blocks blocks_;
  std::vector<Run> runs_;
  std::vector<std::uint64_t> loose_codes_;
  std::vector<std::int64_t> loose_counts_;
  std::vector<std::uint32_t> loose_clusters_;
};

void score_pairs(const Labelled& data, double* samples, int threads, Progress& progress) {
  const Pairs pairs(data);
  const std::size_t rows = std::clamp<std::size_t>(32768 / data.clusters, 1, 256);
  parallel_ranges(threads, data.codes.size, rows, progress, [&](std::size_t begin, std::size_t end) {
    std::vector<Sum> sums;
    pairs.sum(begin, end, sums);
    for (std::size_t i = begin; i < end; ++i) {
      if (data.labels[i] < 0) continue;
      const auto own = static_cast<std::size_t>(data.labels[i]);
      Sample sample;
      for (std::size_t c = 0; c < data.clusters; ++c)
        sample.meet(c == own, fixed_point(sums[(i - begin) * data.clusters + c]), data.faces[c]);
      samples[i] = sample.score();
    }
  });
}

// Euclidean distances of weighted bits: all pairs, in double.
class WeightedPairs {
 public:
  WeightedPairs(const Labelled& data, const double* weights)
      : data_(data), squares_(data.attributes, squared(weights, data.attributes).data()) {
    for (const auto& members : data.members()) {
      groups_.push_back((members.size() + 7) / 8);
      for (std::size_t first = 0; first < members.size(); first += 8) {
        for (int w = 0; w < data.codes.width; ++w)
          for (std::size_t at = first; at < first + 8; ++at)
            codes_.push_back(at < members.size() ? data.codes[members[at]][w] : 0);
        for (std::size_t at = first; at < first + 8; ++at)
          counts_.push_back(at < members.size() ? static_cast<double>(data.counts[members[at]]) : 0);
      }
    }
  }

  void sum(const std::uint64_t* row, double* sums) const {
    kernels().root_sums({codes_.data(), counts_.data(), groups_.data(), squares_.tables(), groups_.size(),
                         data_.codes.width, squares_.planes()},
                        row, sums);
  }

 private:
  static std::vector<double> squared(const double* weights, std::size_t attributes) {
    std::vector<double> squares(weights, weights + attributes);
    for (double& square : squares) square *= square;
    return squares;
  }

  const Labelled& data_;
  PairDistance squares_;
  std::vector<std::uint64_t> codes_;
  std::vector<double> counts_;
  std::vector<std::size_t> groups_;
};

void score_weighted_pairs(const Labelled& data, const double* weights, double* samples, int threads,
                          Progress& progress) {
  const WeightedPairs pairs(data, weights);
  parallel_ranges(threads, data.codes.size, 8, progress, [&](std::size_t begin, std::size_t end) {
    std::vector<double> sums(data.clusters);
    for (std::size_t i = begin; i < end; ++i) {
      if (data.labels[i] < 0) continue;
      pairs.sum(data.codes[i], sums.data());
      const auto own = static_cast<std::size_t>(data.labels[i]);
      Sample sample;
      for (std::size_t c = 0; c < data.clusters; ++c) sample.meet(c == own, sums[c], data.faces[c]);
      samples[i] = sample.score();
    }
  });
}

// Manhattan, squared euclidean and cosine distances are sums of a term an attribute, so that the sum of the distances
// of a code to a whole cluster needs no more than the sum of each attribute in it. The terms are added up by one table
// a byte of the code, for a few clusters at a time. Exact for plain bits but in cosine.
class Linear {
 public:
  Linear(const Labelled& data, Metric metric, const double* weights) : data_(data), cosine_(metric == Metric::cosine) {
    for (std::size_t a = 0; a < data.attributes; ++a) {
      const double weight = weights ? weights[a] : 1;
      value_.push_back(metric == Metric::manhattan ? weight : weight * weight);
    }
    sums_.assign(data.clusters * data.attributes, 0.0);
    for (std::size_t i = 0; i < data.codes.size; ++i) {
      if (data.labels[i] < 0) continue;
      const double amount = static_cast<double>(data.counts[i]) * scale(i);
      double* sum = &sums_[static_cast<std::size_t>(data.labels[i]) * data.attributes];
      for (std::size_t w = 0; 64 * w < data.attributes; ++w)
        for (std::uint64_t bits = data.codes[i][w]; bits; bits &= bits - 1)
          sum[64 * w + static_cast<std::size_t>(__builtin_ctzll(bits))] += amount;
    }
  }

  // Cosine: one over the length of the code, 0 for one without attributes. Else 1.
  double scale(std::size_t i) const {
    if (!cosine_) return 1;
    double square = 0;
    for (std::size_t a = 0; a < data_.attributes; ++a)
      if (data_.codes[i][a / 64] >> (a % 64) & 1) square += value_[a];
    return square > 0 ? 1 / std::sqrt(square) : 0;
  }

  // The terms of cluster c: (planes, 256).
  void tabulate(std::size_t c, double* table) const {
    const double* sum = &sums_[c * data_.attributes];
    for (std::size_t p = 0; p < data_.planes(); ++p)
      for (std::size_t bits = 0; bits < 256; ++bits) {
        double total = 0;
        for (std::size_t t = 0; t < 8 && 8 * p + t < data_.attributes; ++t) {
          const std::size_t a = 8 * p + t;
          const bool set = bits >> t & 1;
          if (cosine_)
            total += set ? value_[a] * sum[a] : 0;
          else
            total += value_[a] * (set ? static_cast<double>(data_.faces[c]) - sum[a] : sum[a]);
        }
        table[p * 256 + bits] = total;
      }
  }

  double distances(std::size_t i, std::size_t c, const double* table, double scale) const {
    double total = 0;
    for (std::size_t p = 0; p < data_.planes(); ++p)
      total += table[p * 256 + code_byte(data_.codes[i], static_cast<int>(p))];
    if (!cosine_) return total;
    const bool itself = scale == 0 && static_cast<std::size_t>(data_.labels[i]) == c;  // at distance 0, not 1
    return std::max(0.0, static_cast<double>(data_.faces[c] - itself) - scale * total);
  }

 private:
  const Labelled& data_;
  bool cosine_;
  std::vector<double> value_;  // (attributes,)
  std::vector<double> sums_;   // (clusters, attributes)
};

void score_linear(const Labelled& data, Metric metric, const double* weights, double* samples, int threads,
                  Progress& progress) {
  constexpr std::size_t at_once = 16;
  const Linear linear(data, metric, weights);
  const std::size_t table_size = data.planes() * 256;
  std::vector<Sample> known(data.codes.size);
  std::vector<double> tables(at_once * table_size);
  for (std::size_t first = 0; first < data.clusters; first += at_once) {
    const std::size_t last = std::min(data.clusters, first + at_once);
    progress.phase(static_cast<double>(first) / static_cast<double>(data.clusters),
                   static_cast<double>(last) / static_cast<double>(data.clusters));
    for (std::size_t c = first; c < last; ++c) linear.tabulate(c, &tables[(c - first) * table_size]);
    parallel_ranges(threads, data.codes.size, 4096, progress, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        if (data.labels[i] < 0) continue;
        const double scale = linear.scale(i);
        for (std::size_t c = first; c < last; ++c)
          known[i].meet(static_cast<std::size_t>(data.labels[i]) == c,
                        linear.distances(i, c, &tables[(c - first) * table_size], scale), data.faces[c]);
      }
    });
  }
  for (std::size_t i = 0; i < data.codes.size; ++i)
    if (data.labels[i] >= 0) samples[i] = known[i].score();
}

}  // namespace

double silhouette(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                  std::size_t attributes, Metric metric, const double* weights, double* samples, int threads,
                  Progress& progress) {
  Labelled data{codes, counts, labels, clusters, attributes, std::vector<std::int64_t>(clusters)};
  for (std::size_t i = 0; i < codes.size; ++i)
    if (labels[i] >= 0) data.faces[static_cast<std::size_t>(labels[i])] += counts[i];

  std::fill_n(samples, codes.size, std::numeric_limits<double>::quiet_NaN());
  if (metric != Metric::euclidean)
    score_linear(data, metric, weights, samples, threads, progress);
  else if (weights)
    score_weighted_pairs(data, weights, samples, threads, progress);
  else
    score_pairs(data, samples, threads, progress);

  double sum = 0;
  for (std::size_t i = 0; i < codes.size; ++i)
    if (labels[i] >= 0) sum += static_cast<double>(counts[i]) * samples[i];
  return sum / static_cast<double>(std::accumulate(data.faces.begin(), data.faces.end(), std::int64_t{0}));
}

}  // namespace facetools
