// The exact silhouette of labelled codes (Rousseeuw 1987).
#pragma once

#include <cstdint>

#include "codes/codes.hpp"

namespace facetools {

enum class Metric { euclidean, sqeuclidean, manhattan, cosine };

// samples[i] = (b - a) / max(a, b), where a is the mean distance of a face with code i to the other faces of its
// cluster and b the least mean distance to those of another; 0 in a cluster of one face; NaN where the label is -1.
// Returns the mean over the labelled faces.
//
// codes: distinct; counts: 1 or more; labels: -1 or 0 to clusters - 1, at least two of them in use.
// weights: a factor on each attribute, not negative, or null for none.
// Limits: 2^40 faces in total; 2^32 blocks of 64 codes.
double silhouette(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                  std::size_t attributes, Metric metric, const double* weights, double* samples, int threads,
                  Progress& progress);

}  // namespace facetools
