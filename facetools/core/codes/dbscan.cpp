#include "codes/dbscan.hpp"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <utility>
#include <vector>

#include "codes/radius_neighbors.hpp"

namespace facetools {

namespace {

constexpr std::size_t queries_per_task = 64;

// Lock-free union-find (Anderson and Woll 1991). The root of a set is its smallest member, whatever the order of calls.
class ConcurrentUnionFind {
 public:
  explicit ConcurrentUnionFind(std::size_t size) : parent_(size) {
    for (std::size_t i = 0; i < size; ++i) parent_[i].store(static_cast<std::uint32_t>(i), std::memory_order_relaxed);
  }

  std::uint32_t find_root(std::uint32_t i) {
    for (;;) {
      std::uint32_t parent = parent_[i].load(std::memory_order_relaxed);
      if (parent == i) return i;
      const std::uint32_t grandparent = parent_[parent].load(std::memory_order_relaxed);
      if (grandparent != parent)  // path halving
        parent_[i].compare_exchange_weak(parent, grandparent, std::memory_order_relaxed);
      i = grandparent;
    }
  }

  void unite(std::uint32_t a, std::uint32_t b) {
    for (;;) {
      a = find_root(a);
      b = find_root(b);
      if (a == b) return;
      if (a < b) std::swap(a, b);
      std::uint32_t expected = a;
      if (parent_[a].compare_exchange_strong(expected, b, std::memory_order_relaxed)) return;
    }
  }

 private:
  std::vector<std::atomic<std::uint32_t>> parent_;
};

template <class Search, class OnNeighbor>
void visit_all(const Search& search, const std::vector<std::uint32_t>& queries, int threads, Progress& progress,
               const OnNeighbor& on_neighbor) {
  parallel_ranges(threads, queries.size(), queries_per_task, progress, [&](std::size_t begin, std::size_t end) {
    search.visit(queries.data() + begin, end - begin, on_neighbor);
  });
}

template <class Search>
void cluster(const Search& search, const Codes& codes, const std::int64_t* counts, std::int64_t min_samples,
             std::int32_t* labels, int threads, Progress& progress) {
  std::vector<std::uint32_t> all(codes.size), core, non_core;
  std::iota(all.begin(), all.end(), 0u);

  // The search stops at min_samples: whether a code is core is all that matters.
  std::vector<std::int64_t> neighbor_faces(codes.size);
  progress.start_phase(0, 0.4);
  visit_all(search, all, threads, progress, [&](std::uint32_t i, std::uint32_t j) {
    neighbor_faces[i] += counts[j];
    return neighbor_faces[i] < min_samples;
  });
  const auto is_core = [&](std::uint32_t i) { return neighbor_faces[i] >= min_samples; };
  for (const std::uint32_t i : all) (is_core(i) ? core : non_core).push_back(i);

  ConcurrentUnionFind sets(codes.size);
  const double core_end = 0.4 + 0.6 * static_cast<double>(core.size()) / static_cast<double>(codes.size);
  progress.start_phase(0.4, core_end);
  visit_all(search, core, threads, progress, [&](std::uint32_t i, std::uint32_t j) {
    if (j < i && is_core(j)) sets.unite(i, j);
    return true;
  });

  // The root of a cluster is its first core code, and clusters are numbered by it. So the smallest root within the
  // radius of a non-core code belongs to the first cluster.
  constexpr std::uint32_t none = UINT32_MAX;
  std::vector<std::uint32_t> root(codes.size, none);
  for (const std::uint32_t i : core) root[i] = sets.find_root(i);
  std::vector<std::uint32_t> first_root(codes.size, none);
  progress.start_phase(core_end, 1);
  visit_all(search, non_core, threads, progress, [&](std::uint32_t i, std::uint32_t j) {
    first_root[i] = std::min(first_root[i], root[j]);
    return true;
  });

  std::int32_t clusters = 0;
  for (const std::uint32_t i : core) labels[i] = root[i] == i ? clusters++ : labels[root[i]];
  for (const std::uint32_t i : non_core) labels[i] = first_root[i] == none ? -1 : labels[first_root[i]];
}

}  // namespace

void dbscan(const Codes& codes, const std::int64_t* counts, std::size_t radius, std::int64_t min_samples,
            std::int32_t* labels, int threads, Progress& progress) {
  if (codes.size == 0) return;
  const std::vector<std::size_t> bits = varying_bits(codes);
  constexpr double popcounts_per_lookup = 128;  // the cost of looking up one candidate, in codes compared by popcount
  if (BitFlipSearch::candidates(bits.size(), radius) * popcounts_per_lookup < static_cast<double>(codes.size))
    cluster(BitFlipSearch(codes, bits, radius), codes, counts, min_samples, labels, threads, progress);
  else
    cluster(ExhaustiveSearch(codes, bits, radius), codes, counts, min_samples, labels, threads, progress);
}

}  // namespace facetools
