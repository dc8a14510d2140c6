// Included by each SIMD level: squared distances of codes to centroids, eight of these side by side.
//
// tables: (planes, 256, 8 groups), on a cache line, the share of each byte of a code in its distance to each centroid.
// Only additions and comparisons lane by lane, so that every level gives the same.
#pragma once

#include "simd/kernels.hpp"
#include "simd/by_planes.hpp"

namespace facetools {

namespace {

using Eight = double __attribute__((vector_size(64), may_alias));
using EightIndices = long long __attribute__((vector_size(64)));

// The rows of the tables that belong to one code; planes as in by_planes.
template <int planes>
struct Entries {
  Entries(const double* tables, std::size_t count, std::size_t groups, const std::uint8_t* bytes)
      : n(planes == 0 ? count : planes) {
    for (std::size_t p = 0; p < n; ++p)
      plane[p] = reinterpret_cast<const Eight*>(tables + (p * 256 + bytes[p]) * groups * 8);
  }

  void distances(std::size_t group, Eight& sum) const {
    sum = plane[0][group];
    for (std::size_t p = 1; p < n; ++p) sum += plane[p][group];
  }

  std::size_t n;
  const Eight* plane[planes == 0 ? 32 : planes] = {};
};

template <int planes>
void nearest(const double* tables, std::size_t plane_count, std::size_t groups, const std::uint8_t* rows,
             std::size_t count, std::int32_t first, double* distances, std::int32_t* labels) {
  for (std::size_t i = 0; i < count; ++i, rows += plane_count) {
    const Entries<planes> entries(tables, plane_count, groups, rows);
    Eight least, sum;
    EightIndices group = {};
    entries.distances(0, least);
    for (std::size_t g = 1; g < groups; ++g) {
      entries.distances(g, sum);
      const EightIndices closer = sum < least;
      least = closer ? sum : least;
      group = closer ? EightIndices{} + static_cast<long long>(g) : group;
    }
    double distance = distances[i];
    for (int lane = 0; lane < 8; ++lane) distance = least[lane] < distance ? least[lane] : distance;
    std::int32_t label = distance == distances[i] ? labels[i] : INT32_MAX;
    for (int lane = 0; lane < 8; ++lane) {
      const auto number = static_cast<std::int32_t>(first + 8 * group[lane] + lane);
      label = ((least[lane] == distance) & (number < label)) ? number : label;
    }
    distances[i] = distance;
    labels[i] = label;
  }
}

template <int planes>
void potentials(const double* tables, std::size_t plane_count, const std::uint8_t* rows, std::size_t count,
                const double* weights, const double* distances, double* sums) {
  Eight total = {}, distance;
  for (std::size_t i = 0; i < count; ++i, rows += plane_count) {
    Entries<planes>(tables, plane_count, 1, rows).distances(0, distance);
    const Eight known = Eight{} + distances[i];
    distance = distance < known ? distance : known;
    total += distance * weights[i];
  }
  for (int lane = 0; lane < 8; ++lane) sums[lane] = total[lane];
}

void nearest(const double* tables, std::size_t planes, std::size_t groups, const std::uint8_t* rows, std::size_t count,
             std::int32_t first, double* distances, std::int32_t* labels) {
  by_planes(static_cast<int>(planes),
            [&]<int n>() { nearest<n>(tables, planes, groups, rows, count, first, distances, labels); });
}

void potentials(const double* tables, std::size_t planes, const std::uint8_t* rows, std::size_t count,
                const double* weights, const double* distances, double* sums) {
  by_planes(static_cast<int>(planes),
            [&]<int n>() { potentials<n>(tables, planes, rows, count, weights, distances, sums); });
}

}  // namespace

}  // namespace facetools
