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

// A tile has 16 rows of 16 floats, or of 16 pairs of bfloat16: of so many terms of a sum.
constexpr std::size_t side = 16, terms = 2 * side;

// What is made ready together, to fit the first caches.
constexpr std::size_t most_rows = 64, most_terms = 192, most_columns = 192;

std::size_t at_most(std::size_t size, std::size_t most) { return size < most ? size : most; }

struct Tile {
  void put(std::size_t row, __m512i line) { _mm512_store_si512(pairs[row], line); }

  alignas(64) std::uint32_t pairs[side][side];
};

// Rows of the first factor, and columns of the second, whose pairs are what a row of a tile has. Of those that there are
// not a tile may have anything; terms that there are not are zeros. `sums` are those of tiles that have not all rows or
// columns.
struct Ready {
  Tile rows[most_rows / side][most_terms / terms];
  Tile columns[most_columns / side][most_terms / terms];
  alignas(64) float sums[2 * side][2 * side];
};

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
void make_ready(const Factor& a, const float* from, std::size_t count, Load load, Tile& to) {
  const std::size_t rows = at_most(a.rows, side), second = count > side ? count - side : 0;
  if (a.inner_step == 1) {
    for (std::size_t r = 0; r < rows; ++r) {
      const float* const row = from + r * a.row_step;
      to.put(r, rounded(load(row, count), load(row + side, second)));
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
  for (std::size_t r = 0; r < side; ++r) to.put(r, lines[r]);
}

void make_ready(const Factor& a, Tile* to) {
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
void make_ready(const float* from, std::size_t count, std::size_t step, Load load, Tile& to) {
  const auto line = [=](std::size_t term) { return load(from + term * step, term < count ? side : 0); };
#pragma GCC unroll 4
  for (std::size_t pair = 0; pair < side; ++pair) to.put(pair, paired(line(2 * pair), line(2 * pair + 1)));
}

void make_ready(const float* b, std::size_t inner, std::size_t step, Tile* to) {
  for (std::size_t i = 0; i < inner; i += terms, b += terms * step, ++to)
    if (inner - i >= terms)
      make_ready(b, terms, step, Whole(), *to);
    else
      make_ready(b, inner - i, step, Some(), *to);
}

// Compilers do not know what tiles read.
void settle() { asm volatile("" ::: "memory"); }

// Two tiles of rows at two of columns, each of `count` tiles of terms: the sums go on from what is there or begin anew.
void multiply_tiles(const Tile (*a)[most_terms / terms], const Tile (*b)[most_terms / terms], std::size_t count,
                    std::size_t step, bool add, float* out) {
  constexpr std::size_t line = sizeof(std::uint32_t[side]);
  const std::size_t bytes = step * sizeof(float);
  float* const lower = out + side * step;
  settle();
  if (add) {
    _tile_loadd(0, out, bytes);
    _tile_loadd(1, out + side, bytes);
    _tile_loadd(2, lower, bytes);
    _tile_loadd(3, lower + side, bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (std::size_t i = 0; i < count; ++i) {
    _tile_loadd(4, a[0][i].pairs, line);
    _tile_loadd(6, b[0][i].pairs, line);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b[1][i].pairs, line);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a[1][i].pairs, line);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, out, bytes);
  _tile_stored(1, out + side, bytes);
  _tile_stored(2, lower, bytes);
  _tile_stored(3, lower + side, bytes);
  settle();
}

// Some rows, `step` apart here and `other_step` there.
void copy(const float* from, std::size_t step, std::size_t rows, std::size_t columns, float* to,
          std::size_t other_step) {
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t i = 0; i < columns; ++i) to[row * other_step + i] = from[row * step + i];
}

// All that is ready.
void multiply_ready(Ready& ready, std::size_t rows, std::size_t inner, std::size_t columns, std::size_t step, bool add,
                    float* out) {
  constexpr std::size_t two = 2 * side;
  const std::size_t count = (inner + terms - 1) / terms;
  for (std::size_t column = 0; column < columns; column += two)
    for (std::size_t row = 0; row < rows; row += two) {
      const std::size_t across = at_most(columns - column, two), down = at_most(rows - row, two);
      const bool whole = across == two && down == two;
      float* const to = out + row * step + column;
      float* const sums = whole ? to : ready.sums[0];
      if (add && !whole) copy(to, step, down, across, sums, two);
      multiply_tiles(&ready.rows[row / side], &ready.columns[column / side], count, whole ? step : two, add, sums);
      if (!whole) copy(sums, two, down, across, to, step);
    }
}

// As LDTILECFG reads it: eight tiles of 16 rows of 64 bytes.
struct Configuration {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

void multiply(const Factor& a, const float* b, std::size_t columns, std::size_t step, bool add, float* out) {
  static constexpr Configuration configuration;
  _tile_loadconfig(&configuration);
  Ready ready;
  for (std::size_t column = 0; column < columns; column += most_columns)
    for (std::size_t i = 0; i < a.inner; i += most_terms) {
      const std::size_t width = at_most(columns - column, most_columns), inner = at_most(a.inner - i, most_terms);
      for (std::size_t c = 0; c < width; c += side)
        make_ready(b + i * step + column + c, inner, step, ready.columns[c / side]);
      for (std::size_t row = 0; row < a.rows; row += most_rows) {
        const std::size_t rows = at_most(a.rows - row, most_rows);
        const float* const from = a.values + row * a.row_step + i * a.inner_step;
        for (std::size_t r = 0; r < rows; r += side)
          make_ready({from + r * a.row_step, rows - r, inner, a.row_step, a.inner_step}, ready.rows[r / side]);
        multiply_ready(ready, rows, inner, width, step, add || i > 0, out + row * step + column);
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
    kernels.layers.multiply_rounded = multiply;
    return kernels;
  }();
  return level;
}

}  // namespace facetools
#endif
