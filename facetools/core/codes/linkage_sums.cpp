// Ward, average and centroid linkage from the sum of each attribute in each cluster. No pair distance is stored.
//
// Nearest neighbors are searched in two steps. A screen, which is a matrix product in float against blocks of clusters,
// selects all clusters that may be nearer than the nearest one so far. Only these are compared in double. The bounds of
// the screen are wider than its rounding error, so that the result is that of comparing all clusters in double.
//
// Ward and average linkage are reducible (Bruynooghe 1978): two clusters that are nearest to each other (reciprocal
// nearest neighbors) stay so until they are merged. So each round merges all such pairs, and only the clusters that
// lost their nearest neighbor search again. In the centroid method, a merged cluster may be nearer to others than its
// parts were. So the closest pair is merged at each step, as in Müllner's generic algorithm (2011).
//
// Exact: attribute sums are doubles that hold integers up to 2^40, and each distance is computed from them. There
// is no recurrence (Lance and Williams 1967) in which errors could accumulate.
//
// Time: O(d attributes) per search, usually a few searches per cluster, so about O(d^2 attributes); O(d^3 attributes)
// in the worst case. Memory: O(d attributes), 12 bytes per code and attribute.
//
// Limits: d below 2^32 - 1; 2^40 faces. Each term of a distance is exact while values are 1 and (faces x faces)^2 of
// the two clusters stays below 2^53.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "codes/aligned_array.hpp"
#include "codes/linkage.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::uint32_t none = UINT32_MAX;
constexpr std::size_t lanes = ScreenLayout::block_size, row_group = ScreenLayout::rows;

// Rounds x to a float that is greater, so that a bound never becomes too tight. At most about 1e30.
float round_up(double x) {
  const auto nearest = static_cast<float>(std::min(x, 1e30));
  return std::nextafterf(nearest, infinity);
}

struct Neighbor {
  double distance = infinity;
  std::uint32_t slot = none;

  bool operator<(const Neighbor& other) const {
    return distance != other.distance ? distance < other.distance : slot < other.slot;
  }
};

// The current clusters, in slots ordered by their first codes. A merge leaves one slot empty.
//
// Values are divided by a power of two such that the largest is in [1, 2) and all distances are in the range of floats.
//
// The screen represents a cluster of n faces by y[a] = (mean[a] - 1/2) sqrt(values[a]), because then
//
//   D = sum over a of values[a] (mean[a] - mean'[a])^2 = |y|^2 + |y'|^2 - 2 y y'
//
// has three small terms. With the bound b, half the distance to beat for ward and the distance itself otherwise, a
// cluster (primed) passes for a row (not primed) if
//
//   ward       D n n' / (n + n') <= b,  that is  (s' - b r') - 2 y y' <= b r - s,  s = |y|^2, r = 1 / n
//   centroid   D <= b,                  that is  s' - 2 y y' <= b - s,             s = |y|^2
//   average    the same with s = sum of values / 4, for the mean of the pair distances is s + s' - 2 y y'
//
// To outweigh rounding, each s is reduced by 4 (attributes + 8) 2^-24 of itself, and by 1e-30 for underflow. There are
// at most attributes + 8 float operations, each with an error below 2^-24 (|y|^2 + |y'|^2); the factor 4 is a reserve.
class Clusters {
 public:
  Clusters(const Codes& codes, const std::int64_t* counts, std::size_t attributes, LinkageMethod method,
           const double* values)
      : method_(method), attributes_(attributes), width_((attributes + 3) / 4 * 4), values_(width_) {
    const double largest = values ? *std::max_element(values, values + attributes) : 1;
    if (largest > 0) scale_ = std::exp2(std::ilogb(largest));
    for (std::size_t a = 0; a < attributes; ++a) {
      values_[a] = values ? values[a] / scale_ : 1;
      value_roots_.push_back(std::sqrt(values_[a]));
    }
    quarter_of_values_ = std::accumulate(values_.begin(), values_.end(), 0.0) / 4;
    sums_.resize(codes.size * width_);
    for (std::size_t i = 0; i < codes.size; ++i) {
      faces_.push_back(static_cast<double>(counts[i]));
      first_codes_.push_back(static_cast<std::uint32_t>(i));
      for (std::size_t a = 0; a < attributes; ++a)
        if (codes[i][a / 64] >> (a % 64) & 1) sums_[i * width_ + a] = faces_[i];
    }
    build_screen();
  }

  // What distances must be multiplied by.
  double scale() const { return scale_; }
  std::size_t slots() const { return faces_.size(); }
  std::size_t size() const { return size_; }
  bool is_empty(std::size_t slot) const { return faces_[slot] == 0; }
  std::uint32_t first_code(std::size_t slot) const { return first_codes_[slot]; }

  // The squared distance (average: the distance) divided by scale(). Symmetric in i and j to the last bit.
  double distance(std::size_t i, std::size_t j) const {
    const double *x = &sums_[i * width_], *y = &sums_[j * width_];
    const double n = faces_[i], m = faces_[j];
    double partial[4] = {};
    if (method_ == LinkageMethod::average) {
      for (std::size_t a = 0; a < width_; a += 4)
        for (std::size_t t = 0; t < 4; ++t)
          partial[t] += values_[a + t] * (x[a + t] * (m - y[a + t]) + (n - x[a + t]) * y[a + t]);
    } else {
      for (std::size_t a = 0; a < width_; a += 4)
        for (std::size_t t = 0; t < 4; ++t) {
          const double difference = x[a + t] * m - y[a + t] * n;
          partial[t] += values_[a + t] * (difference * difference);
        }
    }
    const double sum = (partial[0] + partial[1]) + (partial[2] + partial[3]);
    switch (method_) {
      case LinkageMethod::average: return sum / (n * m);
      case LinkageMethod::centroid: return sum / ((n * m) * (n * m));
      default: return 2 * sum / ((n * m) * (n + m));
    }
  }

  // Merges the cluster of one slot into another, and empties the slot.
  void merge(std::size_t target, std::size_t source) {
    for (std::size_t a = 0; a < width_; ++a) sums_[target * width_ + a] += sums_[source * width_ + a];
    faces_[target] += faces_[source];
    faces_[source] = 0;
    --size_;
    update_screen(target);
    offset(source) = infinity;
  }

  // Removes the empty slots once they are a quarter of all. Returns the new number of each slot (`none` for an empty
  // one), or nothing if the slots stay.
  std::vector<std::uint32_t> compact() {
    if (4 * size_ > 3 * slots()) return {};
    std::vector<std::uint32_t> new_slots(slots(), none);
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < slots(); ++i) {
      if (is_empty(i)) continue;
      faces_[next] = faces_[i];
      first_codes_[next] = first_codes_[i];
      std::copy_n(&sums_[i * width_], width_, &sums_[next * width_]);
      new_slots[i] = next++;
    }
    faces_.resize(next);
    first_codes_.resize(next);
    sums_.resize(next * width_);
    build_screen();
    return new_slots;
  }

  // Finds the nearest neighbors (count,) of the clusters in `slots` (count,). They must be initialized.
  void search(const std::uint32_t* slots, std::size_t count, Neighbor* nearest) const {
    constexpr std::size_t max_blocks = 16;  // per call of the kernel; starting with 1 tightens the bounds early
    std::array<std::uint32_t, max_blocks * row_group> masks;
    const std::vector<float> rows = interleaved_rows(slots, count);
    for (std::size_t block = 0, size = 1; block < blocks_; block += size, size = std::min(2 * size, max_blocks)) {
      size = std::min(size, blocks_ - block);
      for (std::size_t q = 0; q < count; q += row_group) {
        const std::size_t used_rows = std::min(row_group, count - q);
        Bounds bounds;
        for (std::size_t r = 0; r < used_rows; ++r) bounds.set(r, *this, slots[q + r], nearest[q + r].distance);
        screen(block, size, &rows[q * attributes_], bounds, masks.data());
        for (std::size_t r = 0; r < used_rows; ++r)
          for_each_set_bit(&masks[r * size], size, block, [&](std::uint32_t j) {
            if (j != slots[q + r]) nearest[q + r] = std::min(nearest[q + r], {distance(slots[q + r], j), j});
          });
      }
    }
  }

  // For the centroid method: stores the distance of a cluster to its nearest neighbor for visit_candidates.
  void store_nearest_distance(std::size_t slot, double distance) { slope(slot) = round_up(distance); }

  // For the centroid method: calls visitor(j) for all slots j that may be as near to slot i as their stored distance.
  template <class Visitor>
  void visit_candidates(std::uint32_t i, const Visitor& visitor) const {
    Bounds bounds;
    bounds.slopes[0] = 1;
    bounds.limits[0] = round_up(-double{offset(i)});
    std::vector<std::uint32_t> masks(blocks_ * row_group);
    screen(0, blocks_, interleaved_rows(&i, 1).data(), bounds, masks.data());
    for_each_set_bit(masks.data(), blocks_, 0, visitor);
  }

 private:
  // The bounds of the screen for four rows: slope b of r', and limit b r - s or b - s.
  struct Bounds {
    float slopes[row_group] = {};
    float limits[row_group] = {-infinity, -infinity, -infinity, -infinity};

    void set(std::size_t r, const Clusters& clusters, std::uint32_t slot, double distance) {
      const bool ward = clusters.method_ == LinkageMethod::ward;
      const float bound = round_up(ward ? distance / 2 : distance);
      slopes[r] = ward ? bound : 0;
      limits[r] = round_up((ward ? bound / clusters.faces_[slot] : bound) - double{clusters.offset(slot)});
    }
  };

  // -2 y of the clusters in `slots`, four side by side: (ceil(count / 4), attributes, 4).
  std::vector<float> interleaved_rows(const std::uint32_t* slots, std::size_t count) const {
    std::vector<float> rows((count + row_group - 1) / row_group * row_group * attributes_);
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t a = 0; a < attributes_; ++a)
        rows[(r / row_group * attributes_ + a) * row_group + r % row_group] = -2 * screen_value(slots[r], a);
    return rows;
  }

  void screen(std::size_t block, std::size_t size, const float* rows, const Bounds& bounds,
              std::uint32_t* masks) const {
    kernels().screen(&screen_[block * stride()], static_cast<int>(attributes_), size, rows, bounds.slopes,
                     bounds.limits, masks);
  }

  // Calls visitor(slot) for each bit set in the masks of `count` blocks, starting at `block`.
  template <class Visitor>
  void for_each_set_bit(const std::uint32_t* masks, std::size_t count, std::size_t block,
                        const Visitor& visitor) const {
    for (std::size_t b = 0; b < count; ++b)
      for (std::uint32_t mask = masks[b]; mask; mask &= mask - 1)
        visitor(static_cast<std::uint32_t>((block + b) * lanes + static_cast<std::size_t>(__builtin_ctz(mask))));
  }

  // The floats of a slot in the screen: y (attributes values), offset s and slope r. The centroid method uses the slope
  // for the distance to the nearest neighbor instead.
  std::size_t stride() const { return lanes * (attributes_ + 2); }
  float& screen_value(std::size_t slot, std::size_t row) const {
    return screen_[slot / lanes * stride() + row * lanes + slot % lanes];
  }
  float& offset(std::size_t slot) const { return screen_value(slot, attributes_); }
  float& slope(std::size_t slot) const { return screen_value(slot, attributes_ + 1); }

  void build_screen() {
    size_ = slots();
    blocks_ = (slots() + lanes - 1) / lanes;
    screen_ = make_aligned<float>(blocks_ * stride());
    for (std::size_t i = 0; i < blocks_ * lanes; ++i) {
      if (i < slots())
        update_screen(i);
      else
        offset(i) = infinity;
    }
  }

  void update_screen(std::size_t slot) {
    double s = 0;
    for (std::size_t a = 0; a < attributes_; ++a) {
      const double y = (sums_[slot * width_ + a] / faces_[slot] - 0.5) * value_roots_[a];
      screen_value(slot, a) = static_cast<float>(y);
      s += y * y;
    }
    if (method_ == LinkageMethod::average) s = quarter_of_values_;
    const double margin = 4 * static_cast<double>(attributes_ + 8) * 0x1p-24;
    offset(slot) = static_cast<float>(s * (1 - margin) - 1e-30);
    slope(slot) = method_ == LinkageMethod::ward ? static_cast<float>(1 / faces_[slot]) : 0;
  }

  LinkageMethod method_;
  std::size_t attributes_;
  std::size_t width_;                       // attributes rounded up to a multiple of 4
  std::vector<double> values_;              // (width,) divided by scale_
  std::vector<double> value_roots_;         // (attributes,)
  double scale_ = 1;                        // a power of two
  double quarter_of_values_;                // sum of values_ / 4
  std::vector<double> faces_;               // (slots,) faces per cluster; 0 for an empty slot
  std::vector<std::uint32_t> first_codes_;  // (slots,)
  std::vector<double> sums_;                // (slots, width) faces with each attribute
  std::size_t size_;                        // clusters, without the empty slots
  std::size_t blocks_;                      // blocks of 32 slots in the screen
  AlignedArray<float> screen_;              // (blocks, attributes + 2, 32)
};

void search_all(const Clusters& clusters, const std::vector<std::uint32_t>& slots, std::vector<Neighbor>& nearest,
                int threads, Progress& progress) {
  const auto workers = static_cast<std::size_t>(std::max(threads, 1));
  const std::size_t rows_per_task = slots.size() / (4 * workers) / row_group * row_group;
  const std::size_t grain = std::clamp(rows_per_task, row_group, std::size_t{64});
  parallel_ranges(threads, slots.size(), grain, progress, [&](std::size_t begin, std::size_t end) {
    std::vector<Neighbor> results(end - begin);
    clusters.search(&slots[begin], end - begin, results.data());
    for (std::size_t i = begin; i < end; ++i) nearest[slots[i]] = results[i - begin];
  });
}

struct SlotState {
  explicit SlotState(std::size_t slots) : nearest(slots), height(slots) {}

  // Follows Clusters::compact.
  void compact(const std::vector<std::uint32_t>& new_slots) {
    for (std::size_t i = 0; i < new_slots.size(); ++i) {
      if (new_slots[i] == none) continue;
      nearest[new_slots[i]] = {nearest[i].distance, nearest[i].slot == none ? none : new_slots[nearest[i].slot]};
      height[new_slots[i]] = height[i];
    }
  }

  std::vector<Neighbor> nearest;
  std::vector<double> height;  // of the last merge; a merge is never lower than those below it, despite rounding
};

// For reducible methods: merges all pairs of reciprocal nearest neighbors in rounds.
std::vector<Merge> merge_reciprocal_pairs(Clusters& clusters, int threads, Progress& progress) {
  const std::size_t d = clusters.slots();
  SlotState state(d);
  std::vector<Merge> merges;
  std::vector<std::uint32_t> stale(d);  // slots whose nearest neighbor must be searched
  std::iota(stale.begin(), stale.end(), 0u);
  while (clusters.size() > 1) {
    const double remaining = static_cast<double>(clusters.size()) / static_cast<double>(d);
    const double begin = merges.empty() ? 0 : 1 - 0.6 * remaining * remaining;
    progress.start_phase(begin, std::max(begin, 0.4));
    search_all(clusters, stale, state.nearest, threads, progress);

    const std::size_t merges_before = merges.size();
    std::vector<bool> merged(clusters.slots());
    for (std::uint32_t i = 0; i < clusters.slots(); ++i) {
      const auto [distance, j] = state.nearest[i];
      if (clusters.is_empty(i) || i > j || state.nearest[j].slot != i) continue;
      clusters.merge(i, j);
      state.height[i] = std::max({state.height[i], state.height[j], distance});
      merges.push_back({clusters.first_code(i), clusters.first_code(j), state.height[i]});
      merged[i] = merged[j] = true;
    }
    // Rounding may leave a cycle of stored neighbors without a reciprocal pair. A search of all clusters resolves it.
    const bool no_pairs = merges.size() == merges_before;
    stale.clear();
    for (std::uint32_t i = 0; i < clusters.slots(); ++i)
      if (!clusters.is_empty(i) && (no_pairs || merged[i] || merged[state.nearest[i].slot])) stale.push_back(i);
    const std::vector<std::uint32_t> new_slots = clusters.compact();
    state.compact(new_slots);
    if (!new_slots.empty())
      for (std::uint32_t& slot : stale) slot = new_slots[slot];
  }
  return merges;
}

// For the centroid method: merges the closest pair at each step.
std::vector<Merge> merge_closest_pairs(Clusters& clusters, int threads, Progress& progress) {
  const std::size_t d = clusters.slots();
  SlotState state(d);
  std::vector<Merge> merges;
  std::vector<std::uint32_t> stale(d);
  std::iota(stale.begin(), stale.end(), 0u);
  progress.start_phase(0, 0.4);
  search_all(clusters, stale, state.nearest, threads, progress);
  const auto store = [&](std::uint32_t i) { clusters.store_nearest_distance(i, state.nearest[i].distance); };
  for (const std::uint32_t i : stale) store(i);

  progress.start_phase(0.4, 1);
  while (clusters.size() > 1) {
    const auto closest = std::min_element(state.nearest.begin(), state.nearest.end(),
                                          [](const auto& x, const auto& y) { return x.distance < y.distance; });
    const auto [i, j] = std::minmax({static_cast<std::uint32_t>(closest - state.nearest.begin()), closest->slot});
    merges.push_back({clusters.first_code(i), clusters.first_code(j), closest->distance});
    clusters.merge(i, j);
    state.nearest[j] = {};
    stale.clear();
    for (std::uint32_t k = 0; k < clusters.slots(); ++k)
      if (k == i || (!clusters.is_empty(k) && (state.nearest[k].slot == i || state.nearest[k].slot == j)))
        stale.push_back(k);
    for (const std::uint32_t k : stale) {
      state.nearest[k] = {};
      clusters.search(&k, 1, &state.nearest[k]);
      store(k);
    }
    clusters.visit_candidates(i, [&](std::uint32_t k) {
      if (k == i) return;
      state.nearest[k] = std::min(state.nearest[k], {clusters.distance(i, k), i});
      store(k);
    });
    if (const auto new_slots = clusters.compact(); !new_slots.empty()) {
      state.compact(new_slots);
      state.nearest.resize(clusters.slots());
      for (std::uint32_t k = 0; k < clusters.slots(); ++k) store(k);
    }
    const double remaining = static_cast<double>(clusters.size()) / static_cast<double>(d);
    progress(1 - remaining * remaining);
  }
  return merges;
}

}  // namespace

std::vector<Merge> linkage_by_sums(const Codes& codes, const std::int64_t* counts, std::size_t attributes,
                                   LinkageMethod method, const double* values, int threads, Progress& progress) {
  Clusters clusters(codes, counts, std::max<std::size_t>(attributes, 1), method, attributes > 0 ? values : nullptr);
  std::vector<Merge> merges = method == LinkageMethod::centroid ? merge_closest_pairs(clusters, threads, progress)
                                                                : merge_reciprocal_pairs(clusters, threads, progress);
  for (Merge& merge : merges) {
    merge.height *= clusters.scale();
    if (method != LinkageMethod::average) merge.height = std::sqrt(merge.height);
  }
  return merges;
}

}  // namespace facetools
