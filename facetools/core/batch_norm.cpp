#include "batch_norm.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "simd.hpp"
#include "sums.hpp"

namespace facetools {

namespace {

// Places in pieces of about as many values, whatever the number of threads, on which no sum may depend.
std::size_t places_of_piece(std::size_t channels) { return std::max<std::size_t>(1, 65536 / channels); }

// Calls body(begin, end) for the places of each piece, in no more threads than so many values are worth: to call one
// takes about as long as to go through a hundred thousand.
template <class Body>
void each_piece(const Planes& planes, int threads, Progress& progress, const Body& body) {
  const std::size_t channels = planes.channels, worth = std::max<std::size_t>(1, planes.places * channels / 100000);
  const int helped = worth < static_cast<std::size_t>(threads) ? static_cast<int>(worth) : threads;
  parallel_ranges(helped, planes.places, places_of_piece(channels), progress, body);
}

// What add(place, count, partial) adds up over so many places from there on, in floats, two by channel.
template <class Add>
std::vector<double> sums_of(const Planes& planes, int threads, Progress& progress, const Add& add) {
  const std::size_t grain = places_of_piece(planes.channels);
  std::vector<std::vector<double>> of_pieces((planes.places + grain - 1) / grain);
  each_piece(planes, threads, progress, [&](std::size_t begin, std::size_t end) {
    Sums sums(2 * planes.channels, short_sum);
    for (std::size_t from = begin; from < end; from += short_sum) {
      const std::size_t count = std::min(end - from, short_sum);
      add(from, count, sums.partial.get());
      sums.added(count);
    }
    of_pieces[begin / grain] = sums.flushed();
  });
  return added_up(of_pieces);
}

}  // namespace

bool goes_past_cache(const float* to, std::size_t size) {
  constexpr std::size_t floats_of_cache = std::size_t{1} << 22;
  return size > floats_of_cache && reinterpret_cast<std::uintptr_t>(to) % 64 == 0;
}

void Moments::take(const std::vector<double>& sums, const float* origin, std::size_t places) const {
  const std::size_t channels = sums.size() / 2;
  const double *const sum = sums.data(), *const squares = sum + channels;
  const auto count = static_cast<double>(places);
  for (std::size_t c = 0; c < channels; ++c) {
    mean[c] = static_cast<float>(static_cast<double>(origin[c]) + sum[c] / count);
    variance[c] = static_cast<float>(std::max(0.0, (squares[c] - sum[c] * sum[c] / count) / count));
  }
}

void moments(const Planes& planes, const Moments& out, int threads, Progress& progress) {
  // Of what lies between a value and the first of its channel, so that a mean far from 0 costs no digits.
  const float* const origin = planes.values;
  const std::size_t channels = planes.channels;
  const std::vector<double> sums = sums_of(planes, threads, progress, [&](auto place, auto count, float* partial) {
    kernels().layers.gather(planes.at(place), count, channels, {origin, partial, partial + channels});
  });
  out.take(sums, origin, planes.places);
}

void normalise_relu6(const Planes& planes, const Scale& scale, float* out, int threads, Progress& progress) {
  const std::size_t channels = planes.channels;
  const Normalisation by(scale, channels);
  const bool past = goes_past_cache(out, planes.places * channels);
  each_piece(planes, threads, progress, [&](auto begin, auto end) {
    kernels().layers.clamp(by.affine(), planes.at(begin), end - begin, channels, past, out + begin * channels);
  });
}

Drag::Drag(const Scale& scale, std::size_t places, const double* sum, const double* product, std::size_t channels,
           const ScaleGradients& out)
    : shift_(aligned<float>(channels)), slope_(aligned<float>(channels)) {
  for (std::size_t c = 0; c < channels; ++c) {
    const auto inverse = static_cast<double>(scale.inverse[c]), count = static_cast<double>(places);
    out.by_bias[c] = static_cast<float>(sum[c]);
    out.by_weight[c] = static_cast<float>(product[c] * inverse);
    shift_[c] = static_cast<float>(sum[c] / count);
    slope_[c] = static_cast<float>(product[c] * inverse * inverse / count);
  }
}

Drag drag_of(const Planes& planes, const Scale& scale, const float* gradient, const ScaleGradients& out, int threads,
             Progress& progress) {
  const std::size_t channels = planes.channels;
  const Normalisation by(scale, channels);
  const std::vector<double> sums = sums_of(planes, threads, progress, [&](auto place, auto count, float* partial) {
    kernels().layers.add_passed(by.affine(), planes.at(place), gradient + place * channels, count, channels, partial,
                                partial + channels);
  });
  return {scale, planes.places, sums.data(), sums.data() + channels, channels, out};
}

void descend(const Planes& planes, const Scale& scale, const Drag& drag, const float* gradient, float* by_value,
             int threads, Progress& progress) {
  const std::size_t channels = planes.channels;
  const Normalisation by(scale, channels);
  // Where the gradient lies, memory has been read already.
  const bool past = by_value != gradient && goes_past_cache(by_value, planes.places * channels);
  each_piece(planes, threads, progress, [&](auto begin, auto end) {
    const std::size_t at = begin * channels;
    kernels().layers.descend(by.affine(), drag.shift(), drag.slope(), planes.values + at, gradient + at, end - begin,
                             channels, past, by_value + at);
  });
}

void normalise_relu6_backward(const Planes& planes, const Scale& scale, const float* gradient, float* by_value,
                              const ScaleGradients& out, int threads, Progress& progress) {
  const Drag drag = drag_of(planes, scale, gradient, out, threads, progress);
  descend(planes, scale, drag, gradient, by_value, threads, progress);
}

}  // namespace facetools
