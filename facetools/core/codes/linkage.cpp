#include "codes/linkage.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace facetools {

std::vector<Merge> link(const Codes& codes, const std::int64_t* counts, std::size_t attributes, Method method,
                        const double* values, int threads, Progress& progress) {
  if (codes.size < 2) return {};
  std::vector<Merge> merges;
  switch (method) {
    case Method::single: merges = link_single(codes, attributes, values, progress); break;
    case Method::complete: merges = link_complete(codes, attributes, values, threads, progress); break;
    default: merges = link_by_sums(codes, counts, attributes, method, values, threads, progress);
  }
  // The centroid method alone has its merges in order already, and may go down in height.
  if (method != Method::centroid)
    std::stable_sort(merges.begin(), merges.end(), [](const Merge& x, const Merge& y) { return x.height < y.height; });
  return merges;
}

std::vector<double> scipy_form(const std::vector<Merge>& merges, const std::int64_t* counts) {
  const std::size_t d = merges.size() + 1;
  std::vector<std::size_t> parent(d), id(d);
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  std::iota(id.begin(), id.end(), std::size_t{0});
  std::vector<std::int64_t> faces(counts, counts + d);
  const auto root = [&](std::size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  std::vector<double> tree;
  tree.reserve(4 * merges.size());
  for (std::size_t m = 0; m < merges.size(); ++m) {
    const std::size_t a = root(merges[m].a), b = root(merges[m].b);
    faces[a] += faces[b];
    parent[b] = a;
    const auto [lower, upper] = std::minmax({id[a], id[b]});
    tree.insert(tree.end(), {static_cast<double>(lower), static_cast<double>(upper), merges[m].height,
                             static_cast<double>(faces[a])});
    id[a] = d + m;
  }
  return tree;
}

void cut(const double* tree, std::size_t codes, std::size_t clusters, std::int32_t* labels) {
  const std::size_t merges = codes - clusters;
  std::vector<std::size_t> parent(codes + merges);
  std::iota(parent.begin(), parent.end(), std::size_t{0});
  for (std::size_t m = 0; m < merges; ++m)
    for (const std::size_t side : {0, 1}) parent[static_cast<std::size_t>(tree[4 * m + side])] = codes + m;
  for (std::size_t i = parent.size(); i-- > 0;) parent[i] = parent[parent[i]];  // a parent comes after its children

  std::vector<std::int32_t> label(parent.size(), -1);
  std::int32_t next = 0;
  for (std::size_t i = 0; i < codes; ++i) {
    if (label[parent[i]] < 0) label[parent[i]] = next++;
    labels[i] = label[parent[i]];
  }
}

}  // namespace facetools
