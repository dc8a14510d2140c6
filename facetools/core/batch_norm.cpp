#include "batch_norm.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "simd.hpp"
#include "sums.hpp"

namespace facetools {

namespace {

// Planes by sixteens of channels: where they have none, those of two places or more count as one.
class Sixteens {
 public:
  explicit Sixteens(const Planes& all)
      : times_(places_of_sixteens(all.channels)), channels_(all.channels), planes_(all) {
    planes_.places /= times_;
    planes_.channels *= times_;
  }

  const Planes& planes() const { return planes_; }

  // What there is of each channel, for all of them.
  Aligned<float> table(const float* by_channel) const {
    Aligned<float> all = room<float>(planes_.channels);
    for (std::size_t time = 0; time < times_; ++time) std::copy_n(by_channel, channels_, all.get() + time * channels_);
    return all;
  }

  // Rows of sums, by channel again.
  std::vector<double> folded(const std::vector<double>& sums) const {
    std::vector<double> all(sums.size() / times_);
    for (std::size_t i = 0; i < sums.size(); ++i)
      all[i / planes_.channels * channels_ + i % planes_.channels % channels_] += sums[i];
    return all;
  }

 private:
  std::size_t times_, channels_;
  Planes planes_;
};

// What they are normalised by.
class ScaleOfSixteens {
 public:
  ScaleOfSixteens(const Sixteens& values, const Scale& scale)
      : weight_(values.table(scale.weight)),
        bias_(values.table(scale.bias)),
        mean_(values.table(scale.mean)),
        inverse_(values.table(scale.inverse)),
        by_({weight_.get(), bias_.get(), mean_.get(), inverse_.get(), scale.bounds}, values.planes().channels) {}

  Affine affine() const { return by_.affine(); }

 private:
  Aligned<float> weight_, bias_, mean_, inverse_;
  Normalisation by_;
};

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

// scale (4, channels) = that of values of such means and variances.
void put_scale(const BatchNorm& norm, const float* mean, const float* variance, std::size_t channels, float* scale) {
  for (std::size_t c = 0; c < channels; ++c) {
    scale[c] = norm.weight[c];
    scale[channels + c] = norm.bias[c];
    scale[2 * channels + c] = mean[c];
    scale[3 * channels + c] = 1 / std::sqrt(variance[c] + norm.epsilon);
  }
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

std::size_t places_of_sixteens(std::size_t channels) { return channels_in / std::gcd(channels_in, channels); }

void moments(const Planes& planes, const Moments& out, int threads, Progress& progress) {
  const Sixteens all(planes);
  const Planes& wide = all.planes();
  // Of what lies between a value and the first of its channel, so that a mean far from 0 costs no digits.
  const Aligned<float> origin = all.table(planes.values);
  const std::vector<double> sums = sums_of(wide, threads, progress, [&](auto place, auto count, float* partial) {
    kernels().layers.gather(wide.at(place), count, wide.channels, {origin.get(), partial, partial + wide.channels});
  });
  out.take(all.folded(sums), origin.get(), planes.places);
}

void take_moments(const BatchNorm& norm, const Moments& moments, std::size_t places, std::size_t channels,
                  float* scale) {
  put_scale(norm, moments.mean, moments.variance, channels, scale);
  const auto of = static_cast<float>(places);
  for (std::size_t c = 0; c < channels; ++c) {
    norm.mean[c] += norm.momentum * (moments.mean[c] - norm.mean[c]);
    norm.variance[c] += norm.momentum * (moments.variance[c] * (of / (of - 1)) - norm.variance[c]);
  }
}

void take_averages(const BatchNorm& norm, std::size_t channels, float* scale) {
  put_scale(norm, norm.mean, norm.variance, channels, scale);
}

void normalise(const Planes& planes, const Scale& scale, const float* added, float* out, int threads,
               Progress& progress) {
  const Sixteens all(planes);
  const Planes& wide = all.planes();
  const ScaleOfSixteens by(all, scale);
  const bool past = added == nullptr && goes_past_cache(out, wide.places * wide.channels);
  each_piece(wide, threads, progress, [&](auto begin, auto end) {
    const std::size_t from = begin * wide.channels, last = end * wide.channels;
    kernels().layers.clamp(by.affine(), wide.at(begin), end - begin, wide.channels, past, out + from);
    if (added != nullptr)
      for (std::size_t i = from; i < last; ++i) out[i] += added[i];
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

namespace {

Drag drag_of(const Planes& planes, const Scale& scale, const float* gradient, const ScaleGradients& out, int threads,
             Progress& progress) {
  const Sixteens all(planes);
  const Planes& wide = all.planes();
  const ScaleOfSixteens by(all, scale);
  const std::vector<double> found = sums_of(wide, threads, progress, [&](auto place, auto count, float* partial) {
    kernels().layers.add_passed(by.affine(), wide.at(place), gradient + place * wide.channels, count, wide.channels,
                                nullptr, partial, partial + wide.channels);
  });
  const std::vector<double> sums = all.folded(found);
  return {scale, planes.places, sums.data(), sums.data() + planes.channels, planes.channels, out};
}

}  // namespace

void descend(const Planes& planes, const Scale& scale, const Drag& drag, const float* gradient, float* by_value,
             int threads, Progress& progress) {
  const Sixteens all(planes);
  const Planes& wide = all.planes();
  const ScaleOfSixteens by(all, scale);
  const Aligned<float> shift = all.table(drag.shift()), slope = all.table(drag.slope());
  // Where the gradient lies, memory has been read already.
  const bool past = by_value != gradient && goes_past_cache(by_value, wide.places * wide.channels);
  each_piece(wide, threads, progress, [&](auto begin, auto end) {
    const std::size_t at = begin * wide.channels;
    kernels().layers.descend(by.affine(), shift.get(), slope.get(), wide.values + at, gradient + at, end - begin,
                             wide.channels, past, by_value + at);
  });
}

void normalise_backward(const Planes& planes, const Scale& scale, const float* gradient, float* by_value,
                        const ScaleGradients& out, int threads, Progress& progress) {
  const Drag drag = drag_of(planes, scale, gradient, out, threads, progress);
  descend(planes, scale, drag, gradient, by_value, threads, progress);
}

}  // namespace facetools
