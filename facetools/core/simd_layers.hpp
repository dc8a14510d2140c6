// Included by each SIMD level: the layers of a network over a class Simd of its vectors of floats:
//
//   lanes, Vector, load, store, splat
//   stream                    stores past the cache, at a multiple of the size of a vector
//   fence()                   what was streamed is there for all
//   add_product(sum, a, b)
//   least(a, b), greatest(a, b)
//   between(a, low, high, b)  b where low < a < high, else 0
#pragma once

#include "layers.hpp"
#include "simd_products.hpp"

namespace facetools {

namespace {

// Places gone through for some channels before those for the next ones: together they fit the first cache.
constexpr std::size_t tile = 8;

// Calls body(channel, begin, end) for the places [begin, end) of each tile and for each vector of channels.
template <class Simd, class Body>
void each_tile(std::size_t places, std::size_t channels, const Body& body) {
  for (std::size_t begin = 0; begin < places; begin += tile) {
    const std::size_t end = begin + tile < places ? begin + tile : places;
    for (std::size_t c = 0; c < channels; c += Simd::lanes) body(c, begin, end);
  }
}

// What is read soon comes to the cache meanwhile.
inline void soon(const float* values) { __builtin_prefetch(values); }

template <class Simd>
void put(bool past, float* to, typename Simd::Vector values) {
  past ? Simd::stream(to, values) : Simd::store(to, values);
}

template <class Simd>
void gather(const float* values, std::size_t places, std::size_t channels, const Gathered& in) {
  each_tile<Simd>(places, channels, [=](std::size_t c, std::size_t begin, std::size_t end) {
    const auto origin = Simd::load(in.origin + c);
    auto sum = Simd::load(in.sum + c), squares = Simd::load(in.squares + c);
    for (const float *value = values + begin * channels + c, *last = values + end * channels; value < last;
         value += channels) {
      const auto away = Simd::load(value) - origin;
      sum = sum + away;
      squares = Simd::add_product(squares, away, away);
    }
    Simd::store(in.sum + c, sum);
    Simd::store(in.squares + c, squares);
  });
}

// For some channels: what values are normalised by, and what passes of the gradient by one of them.
template <class Simd>
struct Passing {
  using Vector = typename Simd::Vector;
  Vector mean, factor, bias, low, high;

  Passing(const Affine& by, std::size_t c)
      : mean(Simd::load(by.mean + c)),
        factor(Simd::load(by.factor + c)),
        bias(Simd::load(by.bias + c)),
        low(Simd::splat(by.bounds.low)),
        high(Simd::splat(by.bounds.high)) {}

  Vector value(Vector centred) const { return Simd::add_product(bias, centred, factor); }
  Vector clamped(Vector value) const { return Simd::least(Simd::greatest(value, low), high); }
  Vector passed(Vector value, Vector gradient) const { return Simd::between(value, low, high, gradient); }
};

template <class Simd>
void clamp(const Affine& by, const float* values, std::size_t places, std::size_t channels, bool past, float* out) {
  each_tile<Simd>(places, channels, [=](std::size_t c, std::size_t begin, std::size_t end) {
    const Passing<Simd> passing(by, c);
    for (std::size_t at = begin * channels + c; at < end * channels; at += channels) {
      soon(values + at + 2 * tile * channels);
      put<Simd>(past, out + at, passing.clamped(passing.value(Simd::load(values + at) - passing.mean)));
    }
  });
  if (past) Simd::fence();
}

// Adds what passes of each place and its product with the centred value, and calls take(at, passing, value, what
// passes).
template <class Simd, class Take>
void each_passed(const Affine& by, const float* values, const float* gradient, std::size_t places,
                 std::size_t channels, float* sum, float* product, const Take& take) {
  each_tile<Simd>(places, channels, [=](std::size_t c, std::size_t begin, std::size_t end) {
    const Passing<Simd> passing(by, c);
    auto sums = Simd::load(sum + c), products = Simd::load(product + c);
    for (std::size_t at = begin * channels + c; at < end * channels; at += channels) {
      soon(values + at + 2 * tile * channels);
      const auto centred = Simd::load(values + at) - passing.mean;
      const auto value = passing.value(centred), inner = passing.passed(value, Simd::load(gradient + at));
      take(at, passing, value, inner);
      sums = sums + inner;
      products = Simd::add_product(products, inner, centred);
    }
    Simd::store(sum + c, sums);
    Simd::store(product + c, products);
  });
}

template <class Simd>
void add_passed(const Affine& by, const float* values, const float* gradient, std::size_t places,
                std::size_t channels, float* out, float* sum, float* product) {
  using Vector = typename Simd::Vector;
  const auto none = [](std::size_t, const Passing<Simd>&, Vector, Vector) {};
  const auto put_clamped = [=](std::size_t at, const Passing<Simd>& passing, Vector value, Vector) {
    Simd::store(out + at, passing.clamped(value));
  };
  out == nullptr ? each_passed<Simd>(by, values, gradient, places, channels, sum, product, none)
                 : each_passed<Simd>(by, values, gradient, places, channels, sum, product, put_clamped);
}

template <class Simd>
void take_passed(const Affine& by, const float* values, const float* gradient, std::size_t places,
                 std::size_t channels, float* out, float* sum, float* product) {
  using Vector = typename Simd::Vector;
  const auto take = [=](std::size_t at, const Passing<Simd>&, Vector, Vector inner) { Simd::store(out + at, inner); };
  each_passed<Simd>(by, values, gradient, places, channels, sum, product, take);
}

template <class Simd>
void descend(const Affine& by, const float* shift, const float* slope, const float* values, const float* gradient,
             std::size_t places, std::size_t channels, bool past, float* out) {
  each_tile<Simd>(places, channels, [=](std::size_t c, std::size_t begin, std::size_t end) {
    const Passing<Simd> passing(by, c);
    const auto shifts = Simd::load(shift + c), slopes = Simd::load(slope + c);
    for (std::size_t at = begin * channels + c; at < end * channels; at += channels) {
      soon(values + at + 2 * tile * channels);
      const auto centred = Simd::load(values + at) - passing.mean;
      const auto inner = passing.passed(passing.value(centred), Simd::load(gradient + at));
      put<Simd>(past, out + at, passing.factor * (inner - Simd::add_product(shifts, centred, slopes)));
    }
  });
  if (past) Simd::fence();
}

template <class Simd, std::size_t count>
struct Taps {
  using Vector = typename Simd::Vector;
  Vector tap[count];

  void load(const float* from, std::size_t channels) {
    for (std::size_t i = 0; i < count; ++i) tap[i] = Simd::load(from + i * channels);
  }
  void store(float* to, std::size_t channels) const {
    for (std::size_t i = 0; i < count; ++i) Simd::store(to + i * channels, tap[i]);
  }
};

template <class Simd, std::size_t stride>
void filter(const Strip& strip, const float* const* rows, bool past, float* out, const Gathered& in) {
  using Vector = typename Simd::Vector;
  const std::size_t channels = strip.channels;
  each_tile<Simd>(strip.width, channels, [=](std::size_t c, std::size_t begin, std::size_t end) {
    Taps<Simd, 9> weight;
    weight.load(strip.filters + c, channels);
    const Vector origin = Simd::load(in.origin + c);
    Vector sum = Simd::load(in.sum + c), squares = Simd::load(in.squares + c);
    for (std::size_t column = begin; column < end; ++column) {
      Vector sums[3];
      for (std::size_t row = 0; row < 3; ++row) {
        const Vector* const w = weight.tap + 3 * row;
        const float* const from = rows[row] + column * stride * channels + c;
        sums[row] = w[0] * Simd::load(from);
        sums[row] = Simd::add_product(sums[row], w[1], Simd::load(from + channels));
        sums[row] = Simd::add_product(sums[row], w[2], Simd::load(from + 2 * channels));
      }
      const Vector all = sums[0] + sums[1] + sums[2], away = all - origin;
      put<Simd>(past, out + column * channels + c, all);
      sum = sum + away;
      squares = Simd::add_product(squares, away, away);
    }
    Simd::store(in.sum + c, sum);
    Simd::store(in.squares + c, squares);
  });
}

template <class Simd>
void filter_row(const Strip& strip, const float* const* rows, bool past, float* out, const Gathered& in) {
  strip.stride == 1 ? filter<Simd, 1>(strip, rows, past, out, in) : filter<Simd, 2>(strip, rows, past, out, in);
  if (past) Simd::fence();
}

// By so many rows of taps at a stride of 1; with `add` other rows have been there before.
template <class Simd, std::size_t rows>
void lead_back(const float* filters, std::size_t width, std::size_t channels, const float* const* gradients,
               const float* values, bool add, float* by_filter, float* out) {
  using Vector = typename Simd::Vector;
  each_tile<Simd>(width, channels, [=](std::size_t c, std::size_t begin, std::size_t end) {
    Taps<Simd, 3 * rows> weight, sums;
    weight.load(filters + c, channels);
    sums.load(by_filter + c, channels);
    // What the taps share stays in registers from column to column.
    Vector left[rows], middle[rows];
    for (std::size_t row = 0; row < rows; ++row) {
      const float* const from = gradients[row] + begin * channels + c;
      left[row] = Simd::load(from - channels);
      middle[row] = Simd::load(from);
    }
    for (std::size_t at = begin * channels + c; at < end * channels; at += channels) {
      const Vector value = Simd::load(values + at);
      Vector sum = add ? Simd::load(out + at) : Simd::splat(0);
#pragma GCC unroll 3
      for (std::size_t row = 0; row < rows; ++row) {
        const Vector right = Simd::load(gradients[row] + at + channels);
        const Vector* const w = weight.tap + 3 * row;
        Vector* const s = sums.tap + 3 * row;
        sum = Simd::add_product(sum, right, w[0]);
        sum = Simd::add_product(sum, middle[row], w[1]);
        sum = Simd::add_product(sum, left[row], w[2]);
        s[0] = Simd::add_product(s[0], right, value);
        s[1] = Simd::add_product(s[1], middle[row], value);
        s[2] = Simd::add_product(s[2], left[row], value);
        left[row] = middle[row];
        middle[row] = right;
      }
      Simd::store(out + at, sum);
    }
    sums.store(by_filter + c, channels);
  });
}

// The same by a row of taps at a stride of 2, for an even and an odd column at a time.
template <class Simd>
void lead_back_two(const float* filters, std::size_t filtered_width, std::size_t channels, const float* gradient,
                   const float* values, bool add, float* by_filter, float* out) {
  using Vector = typename Simd::Vector;
  each_tile<Simd>(filtered_width, channels, [=](std::size_t c, std::size_t begin, std::size_t end) {
    Taps<Simd, 3> weight, sums;
    weight.load(filters + c, channels);
    sums.load(by_filter + c, channels);
    Vector here = Simd::load(gradient + begin * channels + c);
    for (std::size_t column = begin; column < end; ++column) {
      const Vector next = Simd::load(gradient + (column + 1) * channels + c);
      const std::size_t even = 2 * column * channels + c, odd = even + channels;
      const Vector sum = add ? Simd::load(out + even) : Simd::splat(0);
      const Vector sum_odd = Simd::add_product(add ? Simd::load(out + odd) : Simd::splat(0), next, weight.tap[0]);
      Simd::store(out + even, Simd::add_product(sum, here, weight.tap[1]));
      Simd::store(out + odd, Simd::add_product(sum_odd, here, weight.tap[2]));
      const Vector value = Simd::load(values + odd);
      sums.tap[0] = Simd::add_product(sums.tap[0], next, value);
      sums.tap[1] = Simd::add_product(sums.tap[1], here, Simd::load(values + even));
      sums.tap[2] = Simd::add_product(sums.tap[2], here, value);
      here = next;
    }
    sums.store(by_filter + c, channels);
  });
}

template <class Simd>
void lead_row_back(const Strip& strip, std::size_t width, const float* const* gradients, const float* values,
                   float* by_filter, float* out) {
  const std::size_t channels = strip.channels;
  if constexpr (Simd::registers >= 32)
    if (strip.stride == 1 && gradients[0] != nullptr && gradients[1] != nullptr && gradients[2] != nullptr)
      return lead_back<Simd, 3>(strip.filters, width, channels, gradients, values, false, by_filter, out);
  bool add = false;
  for (std::size_t row = 0; row < 3; ++row) {
    if (gradients[row] == nullptr) continue;
    const std::size_t taps = 3 * row * channels;
    if (strip.stride == 1)
      lead_back<Simd, 1>(strip.filters + taps, width, channels, gradients + row, values, add, by_filter + taps, out);
    else
      lead_back_two<Simd>(strip.filters + taps, strip.width, channels, gradients[row], values, add, by_filter + taps,
                          out);
    add = true;
  }
}

template <class Simd>
constexpr Layers layers{gather<Simd>,     clamp<Simd>,         add_passed<Simd>, take_passed<Simd>, descend<Simd>,
                        filter_row<Simd>, lead_row_back<Simd>, {multiply<Simd>}, {multiply<Simd>}};

}  // namespace

}  // namespace facetools
