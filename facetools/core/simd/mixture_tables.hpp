// The mixture kernels: posteriors of codes by table lookup, and sums of posteriors per byte value. Included by every SIMD
// level.
//
// tables: (planes, 256, 8 groups) doubles, 64-byte aligned. Entry (p, v, c) is what a code whose byte p has value v adds
// to its log-likelihood in cluster c. Clusters are processed in groups of 8.
//
// The kernels add, multiply and compare lane by lane, and add up the lanes in a fixed order, so that every level returns
// the same doubles.
#pragma once

#include "simd/kernels.hpp"
#include "simd/with_planes.hpp"

namespace facetools {

namespace {

using Lanes8 = double __attribute__((vector_size(64), may_alias));
using Bits8 = unsigned long long __attribute__((vector_size(64)));

// Replaces x <= 0 by exp(x), within 2 units in the last place; 0 below -700, where it is less than 1e-304.
//
// exp(x) = 2^n exp(r) with n = round(x / ln 2), so that |r| <= ln(2) / 2. The Taylor polynomial of degree 13 differs from
// exp(r) by less than r^14 / 14! = 5e-18.
inline void exp_of_negative(Lanes8& x) {
  const Lanes8 limit = Lanes8{} - 700.0;
  const auto is_tiny = x < limit;
  const Lanes8 y = is_tiny ? limit : x;
  const double to_integer = 0x1.8p52;  // a double of this size has its integer part in its lowest bits
  const Lanes8 shifted = y * 0x1.71547652b82fep+0 + to_integer;
  const Lanes8 n = shifted - to_integer;
  const Lanes8 r = y - n * 0x1.62e42feep-1 - n * 0x1.a39ef35793c76p-33;  // ln 2 in two parts: the first product is exact
  static constexpr double coefficients[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                            1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,     1.0 / 6,
                                            1.0 / 2,         1.0,            1.0};
  Lanes8 sum = Lanes8{} + 1.0 / 6227020800;
  for (const double coefficient : coefficients) sum = sum * r + coefficient;
  const Lanes8 power = (Lanes8)(((Bits8)shifted + 1023) << 52);  // 2^n: the casts keep the bits
  x = is_tiny ? Lanes8{} : sum * power;
}

template <int planes>
void mixture_posteriors(const double* tables, std::size_t plane_count, std::size_t groups, const double* log_weights,
                        const std::uint8_t* rows, std::size_t count, double* posteriors, double* maxima,
                        double* sums) {
  const std::size_t n = planes == 0 ? plane_count : planes;
  const Lanes8* log_weight = reinterpret_cast<const Lanes8*>(log_weights);
  Lanes8* values = reinterpret_cast<Lanes8*>(posteriors);
  for (std::size_t i = 0; i < count; ++i, rows += n, values += groups) {
    const Lanes8* entries[planes == 0 ? max_planes : planes];
    for (std::size_t p = 0; p < n; ++p)
      entries[p] = reinterpret_cast<const Lanes8*>(tables + (p * 256 + rows[p]) * groups * 8);
    Lanes8 largest = Lanes8{} - __builtin_inf();
    for (std::size_t g = 0; g < groups; ++g) {
      Lanes8 value = log_weight[g];
      for (std::size_t p = 0; p < n; ++p) value += entries[p][g];
      largest = value > largest ? value : largest;
      values[g] = value;
    }
    double maximum = largest[0];
    for (int lane = 1; lane < 8; ++lane) maximum = largest[lane] > maximum ? largest[lane] : maximum;
    Lanes8 total = {};
    for (std::size_t g = 0; g < groups; ++g) {
      Lanes8 value = values[g] - maximum;
      exp_of_negative(value);
      values[g] = value;
      total += value;
    }
    const double sum = ((total[0] + total[4]) + (total[2] + total[6])) + ((total[1] + total[5]) + (total[3] + total[7]));
    const double scale = 1 / sum;
    for (std::size_t g = 0; g < groups; ++g) values[g] *= scale;
    maxima[i] = maximum;
    sums[i] = sum;
  }
}

template <int planes>
void add_posteriors(const double* posteriors, std::size_t groups, const std::uint8_t* rows, std::size_t plane_count,
                    std::size_t count, const double* counts, double* histograms) {
  const std::size_t n = planes == 0 ? plane_count : planes;
  const Lanes8* values = reinterpret_cast<const Lanes8*>(posteriors);
  for (std::size_t i = 0; i < count; ++i, rows += n, values += groups) {
    Lanes8* entries[planes == 0 ? max_planes : planes];
    for (std::size_t p = 0; p < n; ++p)
      entries[p] = reinterpret_cast<Lanes8*>(histograms + (p * 256 + rows[p]) * groups * 8);
    for (std::size_t g = 0; g < groups; ++g) {
      const Lanes8 weighted = values[g] * counts[i];
      for (std::size_t p = 0; p < n; ++p) entries[p][g] += weighted;
    }
  }
}

void mixture_posteriors(const double* tables, std::size_t planes, std::size_t groups, const double* log_weights,
                        const std::uint8_t* rows, std::size_t count, double* posteriors, double* maxima,
                        double* sums) {
  with_planes(static_cast<int>(planes), [&]<int n>() {
    mixture_posteriors<n>(tables, planes, groups, log_weights, rows, count, posteriors, maxima, sums);
  });
}

void add_posteriors(const double* posteriors, std::size_t groups, const std::uint8_t* rows, std::size_t planes,
                    std::size_t count, const double* counts, double* histograms) {
  with_planes(static_cast<int>(planes),
              [&]<int n>() { add_posteriors<n>(posteriors, groups, rows, planes, count, counts, histograms); });
}

}  // namespace

}  // namespace facetools
