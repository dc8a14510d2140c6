// Ward, average and centroid linkage: from the sum of each attribute in each cluster, without any pair stored.
//
// A cluster is searched for its nearest neighbour among all others in two steps. A screen in float, a matrix product
// against blocks of clusters, lets through all that may be nearer than the nearest known; those are compared in double.
// The screen leaves out more than its rounding can err, so that the answer is that of the comparison alone.
//
// Ward and average linkage are reducible: clusters that are each other's nearest neighbour stay so until merged, so
// that all such pairs are merged in one round and only clusters that lost their neighbour search again. In the centroid
// method a merged cluster can come nearer to others than its parts were, so that merges are made one by one.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "codes/aligned.hpp"
#include "codes/linkage.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

constexpr float infinite = std::numeric_limits<float>::infinity();
constexpr std::size_t lanes = Screen::block, screened = Screen::rows;

// A float not below x.
float not_below(double x) {
  const auto nearest = static_cast<float>(std::min(x, 1e30));
  return std::nextafterf(nearest, infinite);
}

struct Neighbour {
  double distance = infinite;
  std::uint32_t slot = UINT32_MAX;

  bool operator<(const Neighbour& other) const {
    return distance != other.distance ? distance < other.distance : slot < other.slot;
  }
};

// The clusters yet to be merged, in slots ordered by their first codes.
//
// Exact: sums (attributes,) of each slot as doubles that hold integers. Values are divided by a power of two, so that
// the largest is 1 to 2 and all distances are within the range of floats. For the screen: y = (mean - 1/2) sqrt(value),
// because distances are |y|^2 + |y'|^2 - 2 y y' with all three terms small. Let b be the distance to beat:
//
//   ward      D n n' / (n + n') <= b   as   (s' - b r') - 2 y y' <= b r - s   with s = |y|^2, r = 1 / n
//   centroid                  D <= b   as   s' - 2 y y' <= b - s
//   average                 the same, with s = sum of values / 4: means of faces spread by as much as they come closer
//
// Each s is taken smaller by a share that outweighs all rounding: every float operation errs by less than 2^-24 of
// |y|^2 + |y'|^2, and there are attributes + 8 of them at most; 4 times as much is left out, and 1e-30 for underflow.
class Clusters {
 public:
  Clusters(const Codes& codes, const std::int64_t* counts, std::size_t attributes, Method method, const double* values)
      : method_(method), attributes_(attributes), width_((attributes + 3) / 4 * 4), values_(width_) {
    const double largest = values ? *std::max_element(values, values + attributes) : 1;
    if (largest > 0) scale_ = std::exp2(std::ilogb(largest));
    for (std::size_t a = 0; a < attributes; ++a) {
      values_[a] = values ? values[a] / scale_ : 1;
      roots_.push_back(std::sqrt(values_[a]));
    }
    quarter_ = std::accumulate(values_.begin(), values_.end(), 0.0) / 4;
    sums_.resize(codes.size * width_);
    for (std::size_t i = 0; i < codes.size; ++i) {
      faces_.push_back(static_cast<double>(counts[i]));
      first_.push_back(static_cast<std::uint32_t>(i));
      for (std::size_t a = 0; a < attributes; ++a)
        if (codes[i][a / 64] >> (a % 64) & 1) sums_[i * width_ + a] = faces_[i];
    }
    lay_out();
  }

  double scale() const { return scale_; }
  std::size_t slots() const { return faces_.size(); }
  std::size_t alive() const { return alive_; }
  bool gone(std::size_t i) const { return faces_[i] == 0; }
  std::uint32_t first(std::size_t i) const { return first_[i]; }

  // Over scale. Symmetric to the last bit. Each product is exact while faces x faces stays below 2^53.
  double distance(std::size_t i, std::size_t j) const {
    const double *x = &sums_[i * width_], *y = &sums_[j * width_];
    const double n = faces_[i], m = faces_[j];
    double part[4] = {};
    if (method_ == Method::average) {
      for (std::size_t a = 0; a < width_; a += 4)
        for (std::size_t t = 0; t < 4; ++t)
          part[t] += values_[a + t] * (x[a + t] * (m - y[a + t]) + (n - x[a + t]) * y[a + t]);
    } else {
      for (std::size_t a = 0; a < width_; a += 4)
        for (std::size_t t = 0; t < 4; ++t) {
          const double apart = x[a + t] * m - y[a + t] * n;
          part[t] += values_[a + t] * (apart * apart);
        }
    }
    const double sum = (part[0] + part[1]) + (part[2] + part[3]);
    switch (method_) {
      case Method::average: return sum / (n * m);
      case Method::centroid: return sum / ((n * m) * (n * m));
      default: return 2 * sum / ((n * m) * (n + m));
    }
  }

  void merge(std::size_t kept, std::size_t lost) {
    for (std::size_t a = 0; a < width_; ++a) sums_[kept * width_ + a] += sums_[lost * width_ + a];
    faces_[kept] += faces_[lost];
    faces_[lost] = 0;
    --alive_;
    show(kept);
    offset(lost) = infinite;
  }

  // Drops the empty slots once they are a quarter of all. Returns the new slot of each, or nothing.
  std::vector<std::uint32_t> compact() {
    if (4 * alive_ > 3 * slots()) return {};
    std::vector<std::uint32_t> moved(slots(), UINT32_MAX);
    std::uint32_t to = 0;
    for (std::size_t i = 0; i < slots(); ++i) {
      if (gone(i)) continue;
      faces_[to] = faces_[i];
      first_[to] = first_[i];
      std::copy_n(&sums_[i * width_], width_, &sums_[to * width_]);
      moved[i] = to++;
    }
    faces_.resize(to);
    first_.resize(to);
    sums_.resize(to * width_);
    lay_out();
    return moved;
  }

  // The nearest neighbours of some slots.
  void search(const std::uint32_t* slots, std::size_t count, Neighbour* found) const {
    constexpr std::size_t most = 16;
    std::array<std::uint32_t, most * screened> masks;
    const std::vector<float> rows = interleaved(slots, count);
    for (std::size_t block = 0, size = 1; block < blocks_; block += size, size = std::min(2 * size, most)) {
      size = std::min(size, blocks_ - block);
      for (std::size_t q = 0; q < count; q += screened) {
        const std::size_t in_use = std::min(screened, count - q);
        Bounds bounds;
        for (std::size_t r = 0; r < in_use; ++r) bounds.beat(r, *this, slots[q + r], found[q + r].distance);
        screen(block, size, &rows[q * attributes_], bounds, masks.data());
        for (std::size_t r = 0; r < in_use; ++r)
          for_each(&masks[r * size], size, block, [&](std::uint32_t j) {
            if (j != slots[q + r]) found[q + r] = std::min(found[q + r], {distance(slots[q + r], j), j});
          });
      }
    }
  }

  // For the centroid method: found(j) for all slots j that may be as near to slot i as the distance that they remember.
  template <class Found>
  void near_enough(std::uint32_t i, const Found& found) const {
    Bounds bounds;
    bounds.slopes[0] = 1;
    bounds.limits[0] = not_below(-double{offset(i)});
    std::vector<std::uint32_t> masks(blocks_ * screened);
    screen(0, blocks_, interleaved(&i, 1).data(), bounds, masks.data());
    for_each(masks.data(), blocks_, 0, found);
  }

  void remember(std::size_t i, double distance) { slope(i) = not_below(distance); }

 private:
  // What each of four slots has to beat.
  struct Bounds {
    float slopes[screened] = {};
    float limits[screened] = {-infinite, -infinite, -infinite, -infinite};

    void beat(std::size_t r, const Clusters& all, std::uint32_t slot, double distance) {
      const bool ward = all.method_ == Method::ward;
      const float best = not_below(ward ? distance / 2 : distance);
      slopes[r] = ward ? best : 0;
      limits[r] = not_below((ward ? best / all.faces_[slot] : best) - double{all.offset(slot)});
    }
  };

  // -2 y of each four slots side by side: (count / 4, attributes, 4).
  std::vector<float> interleaved(const std::uint32_t* slots, std::size_t count) const {
    std::vector<float> rows((count + screened - 1) / screened * screened * attributes_);
    for (std::size_t r = 0; r < count; ++r)
      for (std::size_t a = 0; a < attributes_; ++a)
        rows[(r / screened * attributes_ + a) * screened + r % screened] = -2 * shown(slots[r], a);
    return rows;
  }

  void screen(std::size_t block, std::size_t size, const float* rows, const Bounds& bounds,
              std::uint32_t* masks) const {
    kernels().screen(&floats_[block * stride()], static_cast<int>(attributes_), size, rows, bounds.slopes,
                     bounds.limits, masks);
  }

  template <class Found>
  void for_each(const std::uint32_t* masks, std::size_t count, std::size_t block, const Found& found) const {
    for (std::size_t b = 0; b < count; ++b)
      for (std::uint32_t mask = masks[b]; mask; mask &= mask - 1)
        found(static_cast<std::uint32_t>((block + b) * lanes + static_cast<std::size_t>(__builtin_ctz(mask))));
  }

  // The screen's floats of a slot: y, then s, then r.
  std::size_t stride() const { return lanes * (attributes_ + 2); }
  float& shown(std::size_t i, std::size_t row) const { return floats_[i / lanes * stride() + row * lanes + i % lanes]; }
  float& offset(std::size_t i) const { return shown(i, attributes_); }
  float& slope(std::size_t i) const { return shown(i, attributes_ + 1); }

  void lay_out() {
    alive_ = slots();
    blocks_ = (slots() + lanes - 1) / lanes;
    floats_ = aligned<float>(blocks_ * stride());
    for (std::size_t i = 0; i < blocks_ * lanes; ++i) {
      if (i < slots())
        show(i);
      else
        offset(i) = infinite;
    }
  }

  // Writes a slot for the screen.
  void show(std::size_t i) {
    double square = 0;
    for (std::size_t a = 0; a < attributes_; ++a) {
      const double y = (sums_[i * width_ + a] / faces_[i] - 0.5) * roots_[a];
      shown(i, a) = static_cast<float>(y);
      square += y * y;
    }
    if (method_ == Method::average) square = quarter_;
    const double left_out = 4 * static_cast<double>(attributes_ + 8) * 0x1p-24;
    offset(i) = static_cast<float>(square * (1 - left_out) - 1e-30);
    slope(i) = method_ == Method::ward ? static_cast<float>(1 / faces_[i]) : 0;
  }

  Method method_;
  std::size_t attributes_, width_;  // width_: attributes up to a multiple of 4
  std::vector<double> values_, roots_;
  double scale_ = 1, quarter_;
  std::vector<double> faces_;  // of each slot; 0 in an empty one
  std::vector<std::uint32_t> first_;
  std::vector<double> sums_;  // (slots, width)
  std::size_t alive_, blocks_;
  Aligned<float> floats_;  // (blocks, attributes + 2, 32)
};

void search_all(const Clusters& clusters, const std::vector<std::uint32_t>& slots, std::vector<Neighbour>& nearest,
                int threads, Progress& progress) {
  const auto workers = static_cast<std::size_t>(std::max(threads, 1));
  const std::size_t rows = std::clamp(slots.size() / (4 * workers) / screened * screened, screened, std::size_t{64});
  parallel_ranges(threads, slots.size(), rows, progress, [&](std::size_t begin, std::size_t end) {
    std::vector<Neighbour> found(end - begin);
    clusters.search(&slots[begin], end - begin, found.data());
    for (std::size_t i = begin; i < end; ++i) nearest[slots[i]] = found[i - begin];
  });
}

// What is known of each slot, kept in step when slots are dropped.
struct Known {
  explicit Known(std::size_t slots) : nearest(slots), height(slots) {}

  void move(const std::vector<std::uint32_t>& to) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      if (to[i] == UINT32_MAX) continue;
      nearest[to[i]] = {nearest[i].distance, nearest[i].slot == UINT32_MAX ? UINT32_MAX : to[nearest[i].slot]};
      height[to[i]] = height[i];
    }
  }

  std::vector<Neighbour> nearest;
  std::vector<double> height;  // at which the slot was merged; none is merged below its parts, though rounding errs
};

std::vector<Merge> link_in_rounds(Clusters& clusters, int threads, Progress& progress) {
  const std::size_t d = clusters.slots();
  Known known(d);
  std::vector<Merge> merges;
  std::vector<std::uint32_t> stale(d);
  std::iota(stale.begin(), stale.end(), 0u);
  while (clusters.alive() > 1) {
    const double left = static_cast<double>(clusters.alive()) / static_cast<double>(d);
    const double from = merges.empty() ? 0 : 1 - 0.6 * left * left;
    progress.phase(from, std::max(from, 0.4));
    search_all(clusters, stale, known.nearest, threads, progress);

    const std::size_t before = merges.size();
    std::vector<bool> merged(clusters.slots());
    for (std::uint32_t i = 0; i < clusters.slots(); ++i) {
      const auto [distance, j] = known.nearest[i];
      if (clusters.gone(i) || i > j || known.nearest[j].slot != i) continue;
      clusters.merge(i, j);
      known.height[i] = std::max({known.height[i], known.height[j], distance});
      merges.push_back({clusters.first(i), clusters.first(j), known.height[i]});
      merged[i] = merged[j] = true;
    }
    const bool stuck = merges.size() == before;  // rounding made neighbours of old and new distances disagree
    stale.clear();
    for (std::uint32_t i = 0; i < clusters.slots(); ++i)
      if (!clusters.gone(i) && (stuck || merged[i] || merged[known.nearest[i].slot])) stale.push_back(i);
    const std::vector<std::uint32_t> to = clusters.compact();
    known.move(to);
    if (!to.empty())
      for (std::uint32_t& slot : stale) slot = to[slot];
  }
  return merges;
}

std::vector<Merge> link_one_by_one(Clusters& clusters, int threads, Progress& progress) {
  const std::size_t d = clusters.slots();
  Known known(d);
  std::vector<Merge> merges;
  std::vector<std::uint32_t> stale(d);
  std::iota(stale.begin(), stale.end(), 0u);
  progress.phase(0, 0.4);
  search_all(clusters, stale, known.nearest, threads, progress);
  const auto remember = [&](std::uint32_t i) { clusters.remember(i, known.nearest[i].distance); };
  for (const std::uint32_t i : stale) remember(i);

  progress.phase(0.4, 1);
  while (clusters.alive() > 1) {
    const auto closest = std::min_element(known.nearest.begin(), known.nearest.end(),
                                          [](const auto& x, const auto& y) { return x.distance < y.distance; });
    const auto [i, j] = std::minmax({static_cast<std::uint32_t>(closest - known.nearest.begin()), closest->slot});
    merges.push_back({clusters.first(i), clusters.first(j), closest->distance});
    clusters.merge(i, j);
    known.nearest[j] = {};
    stale.clear();
    for (std::uint32_t k = 0; k < clusters.slots(); ++k)
      if (k == i || (!clusters.gone(k) && (known.nearest[k].slot == i || known.nearest[k].slot == j)))
        stale.push_back(k);
    for (const std::uint32_t k : stale) {
      known.nearest[k] = {};
      clusters.search(&k, 1, &known.nearest[k]);
      remember(k);
    }
    clusters.near_enough(i, [&](std::uint32_t k) {
      if (k == i) return;
      known.nearest[k] = std::min(known.nearest[k], {clusters.distance(i, k), i});
      remember(k);
    });
    if (const auto to = clusters.compact(); !to.empty()) {
      known.move(to);
      known.nearest.resize(clusters.slots());
      for (std::uint32_t k = 0; k < clusters.slots(); ++k) remember(k);
    }
    const double left = static_cast<double>(clusters.alive()) / static_cast<double>(d);
    progress(1 - left * left);
  }
  return merges;
}

}  // namespace

std::vector<Merge> link_by_sums(const Codes& codes, const std::int64_t* counts, std::size_t attributes, Method method,
                                const double* values, int threads, Progress& progress) {
  Clusters clusters(codes, counts, std::max<std::size_t>(attributes, 1), method, attributes > 0 ? values : nullptr);
  std::vector<Merge> merges = method == Method::centroid ? link_one_by_one(clusters, threads, progress)
                                                         : link_in_rounds(clusters, threads, progress);
  for (Merge& merge : merges) {
    merge.height *= clusters.scale();
    if (method != Method::average) merge.height = std::sqrt(merge.height);
  }
  return merges;
}

}  // namespace facetools
