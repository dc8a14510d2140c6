// Distinct codes and their counts.
#pragma once

#include <cstdint>
#include <vector>

#include "codes/codes.hpp"
#include "codes/parallel.hpp"

namespace facetools {

struct DistinctCodes {
  std::vector<std::uint64_t> codes;      // (d, width), in order of first appearance
  std::vector<std::int64_t> counts;      // (d,) rows with that code
  std::vector<std::int64_t> first_rows;  // (d,) the first row with that code
};

// Finds the distinct codes; inverse (size,) receives the index of each row's code among them.
//
// Time O(size * width), memory O(d * width). Throws std::invalid_argument for 2^32 - 1 or more distinct codes.
DistinctCodes find_distinct(const Codes& codes, std::int64_t* inverse, Progress& progress);

}  // namespace facetools
