// The steps of K-Means on codes with counts: assignment, update, and k-means++ seeding.
//
// Lloyd: Least squares quantization in PCM (1957, published 1982). Arthur, Vassilvitskii: k-means++: the advantages of
// careful seeding (2007).
//
// The squared distance of a code to a centroid is
//
//   sum over a of values[a] (bit[a] - centroid[a])^2
//
// It is the sum of one table entry per byte of the code, in double and in a fixed order.
//
// values   (attributes,) non-negative, or null for 1 per attribute
// Limits: 2^31 - 1 clusters; 2^40 faces.
#pragma once

#include <cstdint>
#include <vector>

#include "codes/codes.hpp"
#include "codes/parallel.hpp"

namespace facetools {

// Assigns each code to the nearest of the centroids (clusters, attributes), the first one of several. Writes its number
// to labels (size,) and the squared distance to distances (size,).
//
// Time O(d clusters planes), plus 256 planes clusters for the tables.
void kmeans_assign(const Codes& codes, std::size_t attributes, const double* centroids, std::size_t clusters,
                   const double* values, std::int32_t* labels, double* distances, int threads, Progress& progress);

// Writes the faces of each cluster to sizes (clusters,), and its faces with each attribute to sums (clusters,
// attributes). The new centroids are sums / sizes. Codes with the label -1 are skipped. Exact, since all are integers.
//
// Time O(d attributes), memory O(threads clusters attributes).
void kmeans_update(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                   std::size_t attributes, std::int64_t* sums, std::int64_t* sizes, int threads, Progress& progress);

// Returns the indices of `clusters` different codes by greedy k-means++.
//
// The first seed is drawn with probabilities proportional to the counts. For each further one, 2 + floor(log(clusters))
// candidates, at most 8, are drawn in proportion to counts times squared distances to the nearest seed; the candidate
// with the smallest remaining sum of these is chosen. Sums of doubles are taken in a fixed order.
//
// Time O(d clusters planes).
std::vector<std::int64_t> kmeans_seed(const Codes& codes, const std::int64_t* counts, std::size_t attributes,
                                      std::size_t clusters, std::uint64_t seed, const double* values, int threads,
                                      Progress& progress);

}  // namespace facetools
