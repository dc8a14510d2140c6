// Products of rounded factors by the tiles of AMX (Intel 64 and IA-32 Architectures Software Developer's Manual, volume
// 1, chapter 18), which multiply bfloat16 and add up floats. The rest is AVX-512.
#if defined(FACETOOLS_AMX)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "simd.hpp"

namespace facetools {

namespace {

constexpr std::size_t side = Rounded::lines, terms = Rounded::terms;

// What is made ready together, to fit the first caches.
constexpr std::size_t most_rows = 64, most_terms = 192, most_columns = 192, most_tiles = most_terms / terms;

std::size_t at_most(std::size_t size, std::size_t most) { return size < most ? size : most; }

// Factors that are made ready for one product alone, and sums of tiles that have not all rows. Of rows that there are not
// a tile may have anything; terms that there are not are zeros.
struct Room {
  Rounded rows[most_rows / side][most_tiles];
  Rounded columns[most_columns / side][most_tiles];
  alignas(64) float sums[side][2 * side];
};

void put(__m512i pairs, std::size_t line, Rounded& to) { _mm512_store_si512(to.pairs[line], pairs); }

// All that is there, or so many.
struct Whole {
  __m512 operator()(const float* from, std::size_t) const { return _mm512_loadu_ps(from); }
};
struct Some {
  __m512 operator()(const float* from, std::size_t lanes) const {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << at_most(lanes, side)) - 1), from);
  }
};

// Those of `one` before those of `two`.
__m512i rounded(__m512 one, __m512 two) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(two, one)); }

// Each of `one` beside that of `two`.
__m512i paired(__m512 one, __m512 two) {
  alignas(64) static constexpr std::uint16_t by_turns[terms]{0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                             21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                             11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(by_turns), rounded(one, two));
}

// Rows become columns.
void turn(__m512i (&lines)[side]) {
  __m512i other[side];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < side; i += 2) {
    other[i] = _mm512_unpacklo_epi32(lines[i], lines[i + 1]);
    other[i + 1] = _mm512_unpackhi_epi32(lines[i], lines[i + 1]);
  }
#pragma GCC unroll 4
  for (std::size_t i = 0; i < side; i += 4)
#pragma GCC unroll 2
    for (std::size_t j = 0; j < 2; ++j) {
      lines[i + 2 * j] = _mm512_unpacklo_epi64(other[i + j], other[i + j + 2]);
      lines[i + 2 * j + 1] = _mm512_unpackhi_epi64(other[i + j], other[i + j + 2]);
    }
#pragma GCC unroll 2
  for (std::size_t i = 0; i < side; i += 8)
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) {
      other[i + j] = _mm512_shuffle_i32x4(lines[i + j], lines[i + j + 4], 0x88);
      other[i + j + 4] = _mm512_shuffle_i32x4(lines[i + j], lines[i + j + 4], 0xdd);
    }
#pragma GCC unroll 8
  for (std::size_t j = 0; j < 8; ++j) {
    lines[j] = _mm512_shuffle_i32x4(other[j], other[j + 8], 0x88);
    lines[j + 8] = _mm512_shuffle_i32x4(other[j], other[j + 8], 0xdd);
  }
}

// At most `side` rows of a factor, and `count` terms from a place on.
template <class Load>
void make_ready(const Factor& a, const float* from, std::size_t count, Load load, Rounded& to) {
  const std::size_t rows = at_most(a.rows, side), second = count > side ? count - side : 0;
  if (a.inner_step == 1) {
    for (std::size_t r = 0; r < rows; ++r) {
      const float* const row = from + r * a.row_step;
      put(rounded(load(row, count), load(row + side, second)), r, to);
    }
    return;
  }
  // Where it is turned, the values of a term lie side by side.
  const auto line = [=](std::size_t term) { return load(from + term * a.inner_step, term < count ? rows : 0); };
  __m512i lines[side];
#pragma GCC unroll 16
  for (std::size_t pair = 0; pair < side; ++pair) lines[pair] = paired(line(2 * pair), line(2 * pair + 1));
  turn(lines);
#pragma GCC unroll 16
  for (std::size_t r = 0; r < side; ++r) put(lines[r], r, to);
}

void make_rows(const Factor& a, Rounded* to) {
  for (std::size_t i = 0; i < a.inner; i += terms, ++to) {
    const float* const from = a.values + i * a.inner_step;
    const std::size_t count = at_most(a.inner - i, terms);
    if (count == terms && (a.rows >= side || a.inner_step == 1))
      make_ready(a, from, count, Whole(), *to);
    else
      make_ready(a, from, count, Some(), *to);
  }
}

// `side` columns of a factor (inner, columns), whose rows lie `step` apart.
template <class Load>
void make_ready(const float* from, std::size_t count, std::size_t step, Load load, Rounded& to) {
  const auto line = [=](std::size_t term) { return load(from + term * step, term < count ? side : 0); };
#pragma GCC unroll 4
  for (std::size_t pair = 0; pair < side; ++pair) put(paired(line(2 * pair), line(2 * pair + 1)), pair, to);
}

void make_columns(const Columns& b, Rounded* to) {
  const float* from = b.values;
  for (std::size_t i = 0; i < b.inner; i += terms, from += terms * b.step, ++to)
    if (b.inner - i >= terms)
      make_ready(from, terms, b.step, Whole(), *to);
    else
      make_ready(from, b.inner - i, b.step, Some(), *to);
}

// As they are ready, or are made so in `room`.
RoundedLines ready(const Factor& a, Room& room) {
  if (a.ready.first != nullptr) return a.ready;
  for (std::size_t row = 0; row < a.rows; row += side)
    make_rows(a.lines_from(row, at_most(a.rows - row, side)), room.rows[row / side]);
  return {room.rows[0], most_tiles};
}

RoundedLines ready(const Columns& b, Room& room) {
  if (b.ready.first != nullptr) return b.ready;
  for (std::size_t column = 0; column < b.columns; column += side)
    make_columns(b.lines_from(column, side), room.columns[column / side]);
  return {room.columns[0], most_tiles};
}

// Compilers do not know what tiles read.
void settle() { asm volatile("" ::: "memory"); }

// One or two tiles of rows at one or two of columns, each of `count` tiles of terms: the sums go on from what is there or
// begin anew.
template <bool two_rows, bool two_columns>
void multiply_tiles(const RoundedLines& a, const RoundedLines& b, std::size_t count, std::size_t step, bool add,
                    float* out) {
  constexpr std::size_t line = sizeof(std::uint32_t[side]);
  const std::size_t bytes = step * sizeof(float);
  const Rounded *upper = a.first, *left = b.first;
  float* const lower = out + side * step;
  settle();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if (add) {
    _tile_loadd(0, out, bytes);
    if constexpr (two_columns) _tile_loadd(1, out + side, bytes);
    if constexpr (two_rows) _tile_loadd(2, lower, bytes);
    if constexpr (two_rows && two_columns) _tile_loadd(3, lower + side, bytes);
  }
  for (std::size_t i = 0; i < count; ++i, ++upper, ++left) {
    _tile_loadd(4, upper->pairs, line);
    _tile_loadd(6, left->pairs, line);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (two_columns) {
      _tile_loadd(7, left[b.step].pairs, line);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (two_rows) {
      _tile_loadd(5, upper[a.step].pairs, line);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (two_rows && two_columns) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, bytes);
  if constexpr (two_columns) _tile_stored(1, out + side, bytes);
  if constexpr (two_rows) _tile_stored(2, lower, bytes);
  if constexpr (two_rows && two_columns) _tile_stored(3, lower + side, bytes);
  settle();
}

// Some rows, `step` apart here and `other_step` there.
void copy(const float* from, std::size_t step, std::size_t rows, std::size_t columns, float* to,
          std::size_t other_step) {
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t i = 0; i < columns; ++i) to[row * other_step + i] = from[row * step + i];
}

// Rows of a product at `columns` of it, of one or two tiles.
template <bool two_columns>
void multiply_rows(const RoundedLines& a, std::size_t rows, const RoundedLines& b, std::size_t count, std::size_t step,
                   bool add, float (&sums)[side][2 * side], float* out) {
  constexpr std::size_t columns = two_columns ? 2 * side : side;
  std::size_t row = 0;
  for (; row + 2 * side <= rows; row += 2 * side)
    multiply_tiles<true, two_columns>(a.from(row, 0), b, count, step, add, out + row * step);
  for (; row + side <= rows; row += side)
    multiply_tiles<false, two_columns>(a.from(row, 0), b, count, step, add, out + row * step);
  if (row == rows) return;
  float* const to = out + row * step;
  if (add) copy(to, step, rows - row, columns, sums[0], 2 * side);
  multiply_tiles<false, two_columns>(a.from(row, 0), b, count, 2 * side, add, sums[0]);
  copy(sums[0], 2 * side, rows - row, columns, to, step);
}

// As LDTILECFG reads it: eight tiles of 16 rows of 64 bytes.
struct Configuration {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

void multiply(const Factor& a, const Columns& b, bool add, float* out) {
  static constexpr Configuration configuration;
  _tile_loadconfig(&configuration);
  Room room;
  for (std::size_t first = 0; first < b.columns; first += most_columns)
    for (std::size_t i = 0; i < a.inner; i += most_terms) {
      const std::size_t width = at_most(b.columns - first, most_columns), inner = at_most(a.inner - i, most_terms);
      const std::size_t count = (inner + terms - 1) / terms;
      const RoundedLines columns = ready(b.lines_from(first, width).terms_from(i, inner), room);
      for (std::size_t row = 0; row < a.rows; row += most_rows) {
        const std::size_t some = at_most(a.rows - row, most_rows);
        const RoundedLines rows = ready(a.lines_from(row, some).terms_from(i, inner), room);
        float* const to = out + row * b.step + first;
        std::size_t column = 0;
        for (; column + 2 * side <= width; column += 2 * side)
          multiply_rows<true>(rows, some, columns.from(column, 0), count, b.step, add || i > 0, room.sums, to + column);
        if (column < width)
          multiply_rows<false>(rows, some, columns.from(column, 0), count, b.step, add || i > 0, room.sums,
                               to + column);
      }
    }
  _tile_release();
}

// Whether the processor multiplies bfloat16 by tiles.
bool has_tiles() {
  unsigned int a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0 && __builtin_cpu_supports("avx512bf16");
}

// Whether Linux lets this process use them, which has to be asked for once.
bool may_use_tiles() {
  constexpr long request = 0x1023, tiles = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request, tiles) == 0;
}

}  // namespace

bool amx_is_there() { return has_tiles() && may_use_tiles(); }

const Kernels& amx_kernels() {
  static const Kernels level = [] {
    Kernels kernels = avx512_kernels();
    kernels.name = "amx";
    kernels.layers.rounded_products = {multiply, make_rows, make_columns};
    return kernels;
  }();
  return level;
}

}  // namespace facetools
#endif
