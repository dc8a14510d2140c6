// A mixture of independent Bernoulli attributes on codes with counts (latent class analysis; Lazarsfeld, Henry: Latent
// structure analysis, 1968), and the E-step of its fit (Dempster, Laird, Rubin: Maximum likelihood from incomplete data
// via the EM algorithm, 1977).
//
// The log-likelihood of a code in cluster c is
//
//   log_weights[c] + sum over a of (bit[a] ? log_present[c, a] : log_absent[c, a])
//
// It is the sum of one table entry per byte of the code. All sums are double and in a fixed order: over the codes of a
// block, then over the blocks, whose size depends on the number of codes only.
//
// Limits: logarithms from -1e4 to 0, weights also -infinity (but not all); 2^40 faces.
#pragma once

#include <cstdint>
#include <vector>

#include "codes/codes.hpp"
#include "codes/parallel.hpp"

namespace facetools {

struct Mixture {
  std::size_t clusters, attributes;
  const double* log_weights;  // (clusters,)
  const double* log_present;  // (clusters, attributes)
  const double* log_absent;   // (clusters, attributes)
};

// Expected numbers of faces.
struct MixtureCounts {
  std::vector<double> sizes;    // (clusters,) in each cluster
  std::vector<double> present;  // (clusters, attributes) with each attribute
  std::vector<double> absent;   // (clusters, attributes) without it
  double log_likelihood = 0;    // of all faces
};

// The E-step: the expected counts over the posteriors of all faces.
//
// Time O(d clusters planes), memory O(threads clusters 256 planes + clusters attributes).
MixtureCounts mixture_expect(const Codes& codes, const std::int64_t* counts, const Mixture& mixture, int threads,
                             Progress& progress);

// Writes the probability of each cluster for each code to posteriors (size, clusters).
void mixture_posteriors(const Codes& codes, const Mixture& mixture, double* posteriors, int threads,
                        Progress& progress);

}  // namespace facetools
