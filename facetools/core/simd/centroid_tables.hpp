// The K-Means kernels: squared distances of codes to centroids by table lookup. Included by every SIMD level.
//
// tables: (planes, 256, 8 groups) doubles, 64-byte aligned. Entry (p, v, c) is what a code whose byte p has value v
// adds to its squared distance to centroid c. Centroids are processed in groups of 8.
//
// The kernels only add and compare lane by lane, so that every level returns the same doubles.
#pragma once

#include "simd/kernels.hpp"
#include "simd/with_planes.hpp"

namespace facetools {

namespace {

using Doubles8 = double __attribute__((vector_size(64), may_alias));
using Indices8 = long long __attribute__((vector_size(64)));

// The table entries of one code; `planes` as in with_planes.
template <int planes>
struct CodeEntries {
  CodeEntries(const double* tables, std::size_t plane_count, std::size_t groups, const std::uint8_t* bytes)
      : n(planes == 0 ? plane_count : planes) {
    for (std::size_t p = 0; p < n; ++p)
      plane[p] = reinterpret_cast<const Doubles8*>(tables + (p * 256 + bytes[p]) * groups * 8);
  }

  void distances(std::size_t group, Doubles8& sum) const {
    sum = plane[0][group];
    for (std::size_t p = 1; p < n; ++p) sum += plane[p][group];
  }

  std::size_t n;
  const Doubles8* plane[planes == 0 ? max_planes : planes] = {};
};

template <int planes>
void nearest_centroids(const double* tables, std::size_t plane_count, std::size_t groups, const std::uint8_t* rows,
                       std::size_t count, std::int32_t first, double* distances, std::int32_t* labels) {
  for (std::size_t i = 0; i < count; ++i, rows += plane_count) {
    const CodeEntries<planes> entries(tables, plane_count, groups, rows);
    Doubles8 minimum, sum;
    Indices8 group_of_minimum = {};
    entries.distances(0, minimum);
    for (std::size_t g = 1; g < groups; ++g) {
      entries.distances(g, sum);
      const Indices8 closer = sum < minimum;
      minimum = closer ? sum : minimum;
      group_of_minimum = closer ? Indices8{} + static_cast<long long>(g) : group_of_minimum;
    }
    double distance = distances[i];
    for (int lane = 0; lane < 8; ++lane) distance = minimum[lane] < distance ? minimum[lane] : distance;
    std::int32_t label = distance == distances[i] ? labels[i] : INT32_MAX;
    for (int lane = 0; lane < 8; ++lane) {
      const auto centroid = static_cast<std::int32_t>(first + 8 * group_of_minimum[lane] + lane);
      label = ((minimum[lane] == distance) & (centroid < label)) ? centroid : label;
    }
    distances[i] = distance;
    labels[i] = label;
  }
}

template <int planes>
void seeding_potentials(const double* tables, std::size_t plane_count, const std::uint8_t* rows, std::size_t count,
                        const double* weights, const double* distances, double* sums) {
  Doubles8 total = {}, distance;
  for (std::size_t i = 0; i < count; ++i, rows += plane_count) {
    CodeEntries<planes>(tables, plane_count, 1, rows).distances(0, distance);
    const Doubles8 current = Doubles8{} + distances[i];
    distance = distance < current ? distance : current;
    total += distance * weights[i];
  }
  for (int lane = 0; lane < 8; ++lane) sums[lane] = total[lane];
}

void nearest_centroids(const double* tables, std::size_t planes, std::size_t groups, const std::uint8_t* rows,
                       std::size_t count, std::int32_t first, double* distances, std::int32_t* labels) {
  with_planes(static_cast<int>(planes),
              [&]<int n>() { nearest_centroids<n>(tables, planes, groups, rows, count, first, distances, labels); });
}

void seeding_potentials(const double* tables, std::size_t planes, const std::uint8_t* rows, std::size_t count,
                        const double* weights, const double* distances, double* sums) {
  with_planes(static_cast<int>(planes),
              [&]<int n>() { seeding_potentials<n>(tables, planes, rows, count, weights, distances, sums); });
}

}  // namespace

}  // namespace facetools
