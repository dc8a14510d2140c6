// Agglomerative clustering of codes, as the same method would cluster all the faces that they stand for.
#pragma once

#include <cstdint>
#include <vector>

#include "codes/codes.hpp"

namespace facetools {

enum class Method { ward, average, centroid, single, complete };

// Two clusters, each named by one of its codes, become one.
struct Merge {
  std::uint32_t a, b;
  double height;
};

// The d - 1 merges of d distinct codes, children before parents. The distance of two codes is the sum of
// values[a] >= 0 over the attributes in which they differ; with values null, their Hamming distance. Heights:
//
//   average, single, complete   the mean, least, greatest distance between the faces of the two clusters
//   centroid                    the root of the sum of values[a] (difference of means)^2
//   ward                        the root of twice the growth of the sum of values[a] (difference to the mean)^2
// Equally near clusters: the one with the smaller first code is taken for nearest.
// Limits: fewer than 2^32 codes; 2^40 faces. Equal distances are known as such while the squares of faces x faces of
// the two clusters stay below 2^53.
std::vector<Merge> link(const Codes& codes, const std::int64_t* counts, std::size_t attributes, Method method,
                        const double* values, int threads, Progress& progress);

// The three ways behind link: from the sum of each attribute in each cluster; by a minimum spanning tree; by a matrix
// of all pairs, of one byte each where values is null and no more than 254 attributes vary, else eight.
std::vector<Merge> link_by_sums(const Codes& codes, const std::int64_t* counts, std::size_t attributes, Method method,
                                const double* values, int threads, Progress& progress);
std::vector<Merge> link_single(const Codes& codes, std::size_t attributes, const double* values, Progress& progress);
std::vector<Merge> link_complete(const Codes& codes, std::size_t attributes, const double* values, int threads,
                                 Progress& progress);

// Merges in SciPy's form: (d - 1, 4) rows of the two clusters, height, faces; clusters d, d + 1, ... are the merges.
std::vector<double> scipy_form(const std::vector<Merge>& merges, const std::int64_t* counts);

// labels (d,) after the first d - clusters rows of such a tree, numbered by first appearance.
void cut(const double* tree, std::size_t codes, std::size_t clusters, std::int32_t* labels);

}  // namespace facetools
