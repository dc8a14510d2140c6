// DBSCAN (Ester, Kriegel, Sander, Xu 1996) of codes under the Hamming distance, exact.
#pragma once

#include <cstdint>

#include "codes/codes.hpp"

namespace facetools {

// labels[i] = the cluster of code i, or -1 for noise.
//
// A core code has at least min_samples faces within radius, its own included. Core codes within radius of one another
// share a cluster; clusters are numbered by their first core code. A code that is no core goes to the first cluster
// with a core code within radius.
//
// codes: fewer than 2^32 - 1, distinct for speed only; counts: 1 or more.
void dbscan(const Codes& codes, const std::int64_t* counts, std::size_t radius, std::int64_t min_samples,
            std::int32_t* labels, int threads, Progress& progress);

}  // namespace facetools
