#include "codes/dbscan.hpp"

#include <atomic>
#include <numeric>
#include <vector>

#include "codes/neighbours.hpp"

namespace facetools {

namespace {

// Sets that threads unite without a lock. The root of a set is its least member, whatever the order of the calls.
class Sets {
 public:
  explicit Sets(std::size_t size) : parent_(size) {
    for (std::size_t i = 0; i < size; ++i) parent_[i].store(static_cast<std::uint32_t>(i), std::memory_order_relaxed);
  }

  std::uint32_t root(std::uint32_t i) {
    for (;;) {
      std::uint32_t up = parent_[i].load(std::memory_order_relaxed);
      if (up == i) return i;
      const std::uint32_t above = parent_[up].load(std::memory_order_relaxed);
      if (above != up) parent_[i].compare_exchange_weak(up, above, std::memory_order_relaxed);
      i = above;
    }
  }

  void unite(std::uint32_t a, std::uint32_t b) {
    for (;;) {
      a = root(a);
      b = root(b);
      if (a == b) return;
      if (a < b) std::swap(a, b);
      std::uint32_t expected = a;
      if (parent_[a].compare_exchange_strong(expected, b, std::memory_order_relaxed)) return;
    }
  }

 private:
  std::vector<std::atomic<std::uint32_t>> parent_;
};

template <class Search, class Found>
void visit_all(const Search& search, const std::vector<std::uint32_t>& rows, int threads, Progress& progress,
               const Found& found) {
  parallel_ranges(threads, rows.size(), Search::rows_at_once, progress, [&](std::size_t begin, std::size_t end) {
    search.visit(rows.data() + begin, end - begin, found);
  });
}

template <class Search>
void cluster(const Search& search, const Codes& codes, const std::int64_t* counts, std::int64_t min_samples,
             std::int32_t* labels, int threads, Progress& progress) {
  std::vector<std::uint32_t> all(codes.size), cores, others;
  std::iota(all.begin(), all.end(), 0u);

  std::vector<std::int64_t> faces(codes.size);
  progress.phase(0, 0.4);
  visit_all(search, all, threads, progress, [&](std::uint32_t i, std::uint32_t j) {
    faces[i] += counts[j];
    return faces[i] < min_samples;
  });
  const auto core = [&](std::uint32_t i) { return faces[i] >= min_samples; };
  for (const std::uint32_t i : all) (core(i) ? cores : others).push_back(i);

  Sets sets(codes.size);
  const double share = 0.4 + 0.6 * static_cast<double>(cores.size()) / static_cast<double>(codes.size);
  progress.phase(0.4, share);
  visit_all(search, cores, threads, progress, [&](std::uint32_t i, std::uint32_t j) {
    if (j < i && core(j)) sets.unite(i, j);
    return true;
  });

  // Clusters are numbered by their roots, which are their first core codes; so the least root is the first cluster.
  constexpr std::uint32_t none = UINT32_MAX;
  std::vector<std::uint32_t> root(codes.size, none);
  for (const std::uint32_t i : cores) root[i] = sets.root(i);
  std::vector<std::uint32_t> nearest(codes.size, none);
  progress.phase(share, 1);
  visit_all(search, others, threads, progress, [&](std::uint32_t i, std::uint32_t j) {
    nearest[i] = std::min(nearest[i], root[j]);
    return true;
  });

  std::int32_t clusters = 0;
  for (const std::uint32_t i : cores) labels[i] = root[i] == i ? clusters++ : labels[root[i]];
  for (const std::uint32_t i : others) labels[i] = nearest[i] == none ? -1 : labels[nearest[i]];
}

}  // namespace

void dbscan(const Codes& codes, const std::int64_t* counts, std::size_t radius, std::int64_t min_samples,
            std::int32_t* labels, int threads, Progress& progress) {
  if (codes.size == 0) return;
  const std::vector<std::size_t> bits = varying_bits(codes);
  // A looked-up candidate takes about as long as so many popcounts.
  constexpr double popcounts_a_candidate = 128;
  if (FlipSearch::candidates(bits.size(), radius) * popcounts_a_candidate < static_cast<double>(codes.size))
    cluster(FlipSearch(codes, bits, radius), codes, counts, min_samples, labels, threads, progress);
  else
    cluster(PopcountSearch(codes, bits, radius), codes, counts, min_samples, labels, threads, progress);
}

}  // namespace facetools
