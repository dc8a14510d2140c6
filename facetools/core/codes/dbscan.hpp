// DBSCAN of codes under the Hamming distance.
//
// Ester, Kriegel, Sander, Xu: A density-based algorithm for discovering clusters in large spatial databases with noise
// (KDD 1996), with clusters as disjoint sets of core samples (Patwary et al., SC 2012).
//
// Exact: neighborhoods come from an exact radius search, and densities are sums of integer counts. Clusters are the
// connected components of the core codes, which do not depend on the order of the threads.
//
// Time: two radius searches per code. Each takes O(planes * d), or O(sum over t <= radius of the binomials
// (varying bits, t)), whichever is estimated to be faster. Memory O(d * planes).
#pragma once

#include <cstdint>

#include "codes/codes.hpp"
#include "codes/parallel.hpp"

namespace facetools {

// Writes the cluster of each code to labels (size,), or -1 for noise.
//
// A core code has at least min_samples faces within the radius, its own included. Core codes within the radius of each
// other share a cluster. Clusters are numbered by their first core code. Another code joins the first cluster with a
// core code within the radius, as in scikit-learn.
//
// radius        Hamming distance, inclusive
// min_samples   faces, at least 1
// codes         need not be distinct
// Limits: fewer than 2^32 - 1 codes.
void dbscan(const Codes& codes, const std::int64_t* counts, std::size_t radius, std::int64_t min_samples,
            std::int32_t* labels, int threads, Progress& progress);

}  // namespace facetools
