// The best rules of one, two and three literals for each cluster. A literal is an attribute that is present or absent.
// A rule is a conjunction of literals on different attributes, such as "Male, not Young".
//
// A rule selects S faces, of which M (the matches) belong to the cluster of P faces. Its F1, the harmonic mean of its
// precision M / S and its recall M / P (van Rijsbergen 1979), is 2 M / (P + S). All rules are tried, and compared in
// integers, so that the best one is exact.
//
// Only conjunctions of attributes that are present are counted; the other signs follow by inclusion and exclusion, for
// example
//
//   |a, not b, not c| = |a| - |a, b| - |a, c| + |a, b, c|
//
// An attribute that most faces have is replaced by its complement while counting, so that few bits are set per code.
// Attributes that are the same in all faces distinguish no cluster and are left out.
//
// Limits: 64 attributes that differ between faces; 2^40 faces, so that products of two sums of faces stay below 2^82.
// They are computed in 128 bits.
#pragma once

#include <cstdint>
#include <vector>

#include "codes/codes.hpp"
#include "codes/parallel.hpp"

namespace facetools {

inline constexpr std::size_t max_literals = 3;

// For each cluster, the best rule of l + 1 literals at index l. If too few attributes differ, there is none: its
// literals are -1 and its sums are 0.
struct Rules {
  std::vector<std::int32_t> literals;  // (clusters, 3, 3): 2 a if attribute a is present, 2 a + 1 if absent, else -1
  std::vector<std::int64_t> matches;   // (clusters, 3): M
  std::vector<std::int64_t> selected;  // (clusters, 3): S
};

// Finds the rules of largest F1 among all faces, those with the label -1 included. Among rules of the same length and
// F1, the first one wins: in the order of their attributes, then with the first literals present rather than absent.
//
// labels   (d,) from -1 to clusters - 1; each cluster has a face
// Throws std::invalid_argument if more than 64 attributes differ.
//
// Time O(d m^3 + clusters v^3) for v attributes that differ, where m is the number of set bits per code after
// complementing. Memory: 16 bytes per code, and 4/3 v^3 bytes per cluster, but of at most 256 MB of clusters at a time.
Rules find_rules(const Codes& codes, const std::int64_t* counts, const std::int32_t* labels, std::size_t clusters,
                 int threads, Progress& progress);

}  // namespace facetools
