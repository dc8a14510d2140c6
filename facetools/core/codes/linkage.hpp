// Agglomerative clustering of distinct codes: the tree that the same method builds for all faces, without the merges of
// equal faces at height 0.
//
// Symbols: d codes, `planes` bytes per code.
//
//   method                    file                   time, usually               memory
//   ward, average, centroid   linkage_sums.cpp       O(d^2 attributes)           O(d attributes)
//   single                    linkage_single.cpp     O(d^2 planes)               O(d planes)
//   complete                  linkage_complete.cpp   O(d^2 planes)               d^2 distances of 1 or 8 bytes
//
// Müllner: Modern hierarchical, agglomerative clustering algorithms (2011) surveys the methods.
#pragma once

#include <cstdint>
#include <vector>

#include "codes/codes.hpp"
#include "codes/parallel.hpp"

namespace facetools {

enum class LinkageMethod { ward, average, centroid, single, complete };

// A merge of two clusters, each identified by one of its codes.
struct Merge {
  std::uint32_t a, b;
  double height;
};

// Returns the d - 1 merges of d distinct codes, children before parents.
//
// values   (attributes,) non-negative: the distance of two codes is the sum of values[a] over the attributes in which
//          they differ; null means the Hamming distance
//
// Heights:
//   average, single, complete   the mean, minimum, maximum distance between the faces of the two clusters
//   centroid                    the square root of the sum of values[a] (difference of the means)^2
//   ward                        the square root of twice the growth of the sum of values[a] (difference to the mean)^2
//
// Ties: of several nearest clusters, the one whose first code comes first is merged.
// Limits: fewer than 2^32 - 1 codes; 2^40 faces. Rounding cannot break ties in ward, average and centroid while the
// square of faces x faces of the two clusters stays below 2^53.
std::vector<Merge> linkage(const Codes& codes, const std::int64_t* counts, std::size_t attributes,
                           LinkageMethod method, const double* values, int threads, Progress& progress);

// The implementations behind `linkage`. Except for the centroid method, their merges need sorting by height.
std::vector<Merge> linkage_by_sums(const Codes& codes, const std::int64_t* counts, std::size_t attributes,
                                   LinkageMethod method, const double* values, int threads, Progress& progress);
std::vector<Merge> single_linkage(const Codes& codes, std::size_t attributes, const double* values,
                                  Progress& progress);
std::vector<Merge> complete_linkage(const Codes& codes, std::size_t attributes, const double* values, int threads,
                                    Progress& progress);

// Converts merges to SciPy's linkage matrix (d - 1, 4): two cluster numbers, height, faces. Clusters 0 to d - 1 are the
// codes, cluster d + m is the result of merge m.
std::vector<double> to_scipy_linkage(const std::vector<Merge>& merges, const std::int64_t* counts);

// Cuts such a matrix into `clusters` clusters by its first d - clusters merges. labels (d,) are numbered by first
// appearance. Time and memory O(d).
void cut_tree(const double* tree, std::size_t codes, std::size_t clusters, std::int32_t* labels);

}  // namespace facetools
