// The steps of K-Means (Lloyd 1957; k-means++ by Arthur and Vassilvitskii 2007) on codes with counts.
#pragma once

#include <cstdint>
#include <vector>

#include "codes/codes.hpp"

namespace facetools {

// The squared distance of a code to a centroid is the sum of values[a] (bit a - centroid[a])^2, values null for one
// each. It is added up byte by byte of the code from tables, in double, in an order that is always the same.

// labels[i], distances[i] = the nearest of the (clusters, attributes) centroids, the first of several, and its squared
// distance.
void kmeans_assign(const Codes& codes, std::size_t attributes, const double* centroids, std::size_t clusters,
                   const double* values, std::int32_t* labels, double* distances, int threads, Progress& progress);

// sums[c * attributes + a] = faces of cluster c with attribute a; sizes[c] = faces of cluster c. Labels of -1 are left
// out. Exact.
void kmeans_update(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                   std::size_t attributes, std::int64_t* sums, std::int64_t* sizes, int threads, Progress& progress);

// The numbers of that many different codes, by greedy k-means++: the first drawn by counts, each other one the best of
// 2 + log(clusters), 8 at most, drawn by counts times squared distance to the nearest seed.
std::vector<std::int64_t> kmeans_seed(const Codes& codes, const std::int64_t* counts, std::size_t attributes,
                                      std::size_t clusters, std::uint64_t seed, const double* values, int threads,
                                      Progress& progress);

}  // namespace facetools
