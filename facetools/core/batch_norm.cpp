#include "batch_norm.hpp"

#include <algorithm>
#include <vector>

namespace facetools {

namespace {

// By channel, as Scale, with the weight over the deviation as one factor.
struct Affine {
  const float *__restrict mean, *__restrict factor, *__restrict bias;
};

// What happens at one place, to all of its channels.

void add_moments(const float* __restrict values, const float* __restrict origin, std::size_t channels,
                 float* __restrict sum, float* __restrict squares) {
  for (std::size_t c = 0; c < channels; ++c) {
    const float away = values[c] - origin[c];
    sum[c] += away;
    squares[c] += away * away;
  }
}

void clamp(const float* __restrict values, const Affine& by, std::size_t channels, float* __restrict out) {
  for (std::size_t c = 0; c < channels; ++c) {
    const float value = (values[c] - by.mean[c]) * by.factor[c] + by.bias[c];
    const float above = value < 0 ? 0 : value;
    out[c] = above > 6 ? 6 : above;
  }
}

// The gradient passes where the normalised value is strictly between 0 and 6.
float passed(float value, float gradient) {
  const float above = value > 0 ? gradient : 0;
  return value < 6 ? above : 0;
}

void add_gradient(const float* __restrict values, const float* __restrict gradient, const Affine& by,
                  std::size_t channels, float* __restrict sum, float* __restrict product) {
  for (std::size_t c = 0; c < channels; ++c) {
    const float centred = values[c] - by.mean[c];
    const float inner = passed(centred * by.factor[c] + by.bias[c], gradient[c]);
    sum[c] += inner;
    product[c] += inner * centred;
  }
}

void descend(const float* __restrict values, const float* __restrict gradient, const Affine& by,
             const float* __restrict shift, const float* __restrict slope, std::size_t channels,
             float* __restrict by_value) {
  for (std::size_t c = 0; c < channels; ++c) {
    const float centred = values[c] - by.mean[c];
    const float inner = passed(centred * by.factor[c] + by.bias[c], gradient[c]);
    by_value[c] = by.factor[c] * (inner - shift[c] - centred * slope[c]);
  }
}

// Floats are added up over so many places, and then on in double.
constexpr std::size_t short_sum = 64;

// Places in pieces of about as many values, whatever the number of threads, on which no sum may depend.
std::size_t places_of_piece(std::size_t channels) { return std::max<std::size_t>(1, 65536 / channels); }

struct Sums {
  std::vector<double> first, second;  // of each channel
};

// What add(place, first, second) adds up over all places, in floats by channel.
template <class Add>
Sums sums(const Planes& planes, int threads, Progress& progress, const Add& add) {
  const std::size_t channels = planes.channels, grain = places_of_piece(channels);
  const std::size_t pieces = (planes.places + grain - 1) / grain;
  std::vector<double> of_pieces(pieces * 2 * channels);
  parallel_ranges(threads, planes.places, grain, progress, [&](std::size_t begin, std::size_t end) {
    double* const total = of_pieces.data() + begin / grain * 2 * channels;
    std::vector<float> partial(2 * channels);
    for (std::size_t from = begin; from < end; from += short_sum) {
      std::fill(partial.begin(), partial.end(), 0.0F);
      for (std::size_t place = from; place < std::min(end, from + short_sum); ++place)
        add(place, partial.data(), partial.data() + channels);
      for (std::size_t i = 0; i < partial.size(); ++i) total[i] += static_cast<double>(partial[i]);
    }
  });
  Sums all{std::vector<double>(channels), std::vector<double>(channels)};
  for (std::size_t piece = 0; piece < pieces; ++piece)
    for (std::size_t c = 0; c < channels; ++c) {
      all.first[c] += of_pieces[piece * 2 * channels + c];
      all.second[c] += of_pieces[(piece * 2 + 1) * channels + c];
    }
  return all;
}

template <class Body>
void each_place(const Planes& planes, int threads, Progress& progress, const Body& body) {
  parallel_ranges(threads, planes.places, places_of_piece(planes.channels), progress, [&](auto begin, auto end) {
    for (std::size_t place = begin; place < end; ++place) body(place);
  });
}

std::vector<float> factors(const Scale& scale, std::size_t channels) {
  std::vector<float> factor(channels);
  for (std::size_t c = 0; c < channels; ++c) factor[c] = scale.weight[c] * scale.inverse[c];
  return factor;
}

}  // namespace

void moments(const Planes& planes, float* mean, float* variance, int threads, Progress& progress) {
  // Of what lies between a value and the first of its channel, so that a mean far from 0 costs no digits.
  const float* const origin = planes.values;
  const auto [sum, squares] = sums(planes, threads, progress, [&](std::size_t place, float* first, float* second) {
    add_moments(planes.at(place), origin, planes.channels, first, second);
  });
  const auto places = static_cast<double>(planes.places);
  for (std::size_t c = 0; c < planes.channels; ++c) {
    mean[c] = static_cast<float>(static_cast<double>(origin[c]) + sum[c] / places);
    variance[c] = static_cast<float>(std::max(0.0, (squares[c] - sum[c] * sum[c] / places) / places));
  }
}

void normalise_relu6(const Planes& planes, const Scale& scale, float* out, int threads, Progress& progress) {
  const std::vector<float> factor = factors(scale, planes.channels);
  const Affine by{scale.mean, factor.data(), scale.bias};
  each_place(planes, threads, progress, [&](std::size_t place) {
    clamp(planes.at(place), by, planes.channels, out + place * planes.channels);
  });
}

void normalise_relu6_backward(const Planes& planes, const Scale& scale, const float* gradient, float* by_value,
                              float* by_weight, float* by_bias, int threads, Progress& progress) {
  const std::size_t channels = planes.channels;
  const std::vector<float> factor = factors(scale, channels);
  const Affine by{scale.mean, factor.data(), scale.bias};
  const auto [sum, product] = sums(planes, threads, progress, [&](std::size_t place, float* first, float* second) {
    add_gradient(planes.at(place), gradient + place * channels, by, channels, first, second);
  });
  const auto places = static_cast<double>(planes.places);
  std::vector<float> shift(channels), slope(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    const auto inverse = static_cast<double>(scale.inverse[c]);
    by_bias[c] = static_cast<float>(sum[c]);
    by_weight[c] = static_cast<float>(product[c] * inverse);
    shift[c] = static_cast<float>(sum[c] / places);
    slope[c] = static_cast<float>(product[c] * inverse * inverse / places);
  }
  each_place(planes, threads, progress, [&](std::size_t place) {
    descend(planes.at(place), gradient + place * channels, by, shift.data(), slope.data(), channels,
            by_value + place * channels);
  });
}

}  // namespace facetools
