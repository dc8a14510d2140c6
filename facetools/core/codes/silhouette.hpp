// The silhouette of labeled codes.
//
// Rousseeuw: Silhouettes: a graphical aid to the interpretation and validation of cluster analysis (1987). For a face
// in cluster C,
//
//   s = (b - a) / max(a, b)
//   a   mean distance to the other faces of C
//   b   minimum over the other clusters of the mean distance to their faces
//
// with s = 0 in a cluster of one face and where a = b = 0. Faces with equal codes have equal s, so that s is computed
// per code, from the sums of distances to the faces of each cluster:
//
//   metric                              time                       sums of distances
//   euclidean                           O(d^2 words)               integers: square roots in fixed point (43 bits)
//   euclidean with weights              O(d^2 planes)              doubles in a fixed order
//   manhattan, sqeuclidean, cosine      O(d clusters planes)       doubles, integers without weights except for cosine
//
// Memory: O(d planes) for the euclidean metric, O(d + clusters attributes) for the others.
#pragma once

#include <cstdint>

#include "codes/codes.hpp"
#include "codes/parallel.hpp"

namespace facetools {

enum class Metric { euclidean, sqeuclidean, manhattan, cosine };

// Writes s of each code to samples (size,), NaN for the label -1. Returns the mean over the labeled faces.
//
// codes     distinct
// labels    (size,) -1 or 0 to clusters - 1; at least two clusters are in use
// weights   (attributes,) non-negative factors on the attributes, or null for none
// Limits: 2^40 faces; 2^32 codes; 2^32 blocks of 64 codes.
double silhouette(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                  std::size_t attributes, Metric metric, const double* weights, double* samples, int threads,
                  Progress& progress);

}  // namespace facetools
