#include "codes/linkage.hpp"

#include <algorithm>
#include <numeric>

namespace facetools {

std::vector<Merge> linkage(const Codes& codes, const std::int64_t* counts, std::size_t attributes,
                           LinkageMethod method, const double* values, int threads, Progress& progress) {
  if (codes.size < 2) return {};
  std::vector<Merge> merges;
  switch (method) {
    case LinkageMethod::single: merges = single_linkage(codes, attributes, values, progress); break;
    case LinkageMethod::complete: merges = complete_linkage(codes, attributes, values, threads, progress); break;
    default: merges = linkage_by_sums(codes, counts, attributes, method, values, threads, progress);
  }
  // Centroid merges are in order already, and their heights may decrease.
  if (method != LinkageMethod::centroid)
    std::stable_sort(merges.begin(), merges.end(), [](const Merge& x, const Merge& y) { return x.height < y.height; });
  return merges;
}

std::vector<double> to_scipy_linkage(const std::vector<Merge>& merges, const std::int64_t* counts) {
  const std::size_t d = merges.size() + 1;
  std::vector<std::size_t> parent(d), cluster(d);  // a union-find forest, and the SciPy number of each root
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  std::iota(cluster.begin(), cluster.end(), std::size_t{0});
  std::vector<std::int64_t> faces(counts, counts + d);
  const auto find_root = [&](std::size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  std::vector<double> tree;
  tree.reserve(4 * merges.size());
  for (std::size_t m = 0; m < merges.size(); ++m) {
    const std::size_t a = find_root(merges[m].a), b = find_root(merges[m].b);
    faces[a] += faces[b];
    parent[b] = a;
    const auto [lower, upper] = std::minmax({cluster[a], cluster[b]});
    tree.insert(tree.end(), {static_cast<double>(lower), static_cast<double>(upper), merges[m].height,
                             static_cast<double>(faces[a])});
    cluster[a] = d + m;
  }
  return tree;
}

void cut_tree(const double* tree, std::size_t codes, std::size_t clusters, std::int32_t* labels) {
  const std::size_t merges = codes - clusters;
  std::vector<std::size_t> root(codes + merges);  // first the parent, then the root of each node
  std::iota(root.begin(), root.end(), std::size_t{0});
  for (std::size_t m = 0; m < merges; ++m)
    for (const std::size_t side : {0, 1}) root[static_cast<std::size_t>(tree[4 * m + side])] = codes + m;
  for (std::size_t i = root.size(); i-- > 0;) root[i] = root[root[i]];  // parents have larger numbers than children

  std::vector<std::int32_t> label_of_root(root.size(), -1);
  std::int32_t next_label = 0;
  for (std::size_t i = 0; i < codes; ++i) {
    if (label_of_root[root[i]] < 0) label_of_root[root[i]] = next_label++;
    labels[i] = label_of_root[root[i]];
  }
}

}  // namespace facetools
