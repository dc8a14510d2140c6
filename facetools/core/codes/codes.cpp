#include "codes/codes.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <type_traits>

namespace facetools {

namespace {

constexpr std::size_t grain = 4096;

[[noreturn]] void refuse_row(const char* what, std::size_t row) {
  throw std::invalid_argument(std::string("rows: ") + what + " in row " + std::to_string(row));
}

template <int W>
std::uint64_t hash(const std::uint64_t* code) {
  std::uint64_t h = 0;
  for (int w = 0; w < W; ++w) {
    h = (h ^ code[w]) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 29;
  }
  return h;
}

// Open addressing by linear probing, at most half full. A slot keeps 32 bits of the hash, so that a code is compared
// only when it is almost surely the same.
template <int W>
class Table {
 public:
  explicit Table(Distinct& into) : into_(into), slots_(1024), mask_(slots_.size() - 1) {}

  void prefetch(std::uint64_t h) const { __builtin_prefetch(&slots_[h & mask_]); }

  // The number of this code, a new one if it has not been seen.
  std::uint32_t number(const std::uint64_t* code, std::uint64_t h, std::int64_t row) {
    const auto tag = static_cast<std::uint32_t>(h >> 32);
    for (std::size_t at = h & mask_;; at = (at + 1) & mask_) {
      const Slot slot = slots_[at];
      if (slot.number == empty) {
        slots_[at] = {tag, add(code, row)};
        const std::uint32_t added = slots_[at].number;
        if (2 * into_.counts.size() > slots_.size()) grow();
        return added;
      }
      if (slot.tag == tag && std::equal(code, code + W, &into_.codes[std::size_t{slot.number} * W])) return slot.number;
    }
  }

 private:
  static constexpr std::uint32_t empty = UINT32_MAX;
  struct Slot {
    std::uint32_t tag = 0, number = empty;
  };

  std::uint32_t add(const std::uint64_t* code, std::int64_t row) {
    if (into_.counts.size() >= empty) throw std::invalid_argument("codes: 2^32 - 1 distinct codes or more");
    into_.codes.insert(into_.codes.end(), code, code + W);
    into_.counts.push_back(0);
    into_.first.push_back(row);
    return static_cast<std::uint32_t>(into_.counts.size() - 1);
  }

  void grow() {
    slots_.assign(slots_.size() * 4, Slot{});
    mask_ = slots_.size() - 1;
    for (std::uint32_t i = 0; i < into_.counts.size(); ++i) {
      const std::uint64_t h = hash<W>(&into_.codes[std::size_t{i} * W]);
      std::size_t at = h & mask_;
      while (slots_[at].number != empty) at = (at + 1) & mask_;
      slots_[at] = {static_cast<std::uint32_t>(h >> 32), i};
    }
  }

  Distinct& into_;
  std::vector<Slot> slots_;
  std::size_t mask_;
};

template <int W>
Distinct distinct(const Codes& codes, std::int64_t* inverse, Progress& progress) {
  Distinct result;
  Table<W> table(result);
  std::array<std::uint64_t, 32> hashes;
  for (std::size_t begin = 0; begin < codes.size; begin += hashes.size()) {
    const std::size_t end = std::min(codes.size, begin + hashes.size());
    for (std::size_t i = begin; i < end; ++i) table.prefetch(hashes[i - begin] = hash<W>(codes[i]));
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t number = table.number(codes[i], hashes[i - begin], static_cast<std::int64_t>(i));
      ++result.counts[number];
      inverse[i] = number;
    }
    if (begin % (1 << 20) == 0) progress(static_cast<double>(begin) / static_cast<double>(codes.size));
  }
  return result;
}

}  // namespace

template <class Score>
void pack(const Score* scores, std::size_t rows, std::size_t attributes, double threshold, std::uint64_t* out,
          int threads, Progress& progress) {
  const std::size_t width = std::max<std::size_t>(1, (attributes + 63) / 64);
  std::atomic<std::size_t> first_bad{rows};
  parallel_ranges(threads, rows, grain, progress, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      bool bad = false;
      for (std::size_t w = 0; w < width; ++w) {
        const Score* row = scores + i * attributes + 64 * w;
        const std::size_t bits = std::min<std::size_t>(64, attributes - 64 * w);
        std::uint64_t word = 0;
        for (std::size_t j = 0; j < bits; ++j) {
          if constexpr (std::is_integral_v<Score>) {
            word |= static_cast<std::uint64_t>(row[j] != 0) << j;
            bad |= row[j] > 1;
          } else {
            word |= static_cast<std::uint64_t>(static_cast<double>(row[j]) >= threshold) << j;
            bad |= row[j] != row[j];
          }
        }
        out[i * width + w] = word;
      }
      if (bad) {
        std::size_t seen = first_bad.load();
        while (i < seen && !first_bad.compare_exchange_weak(seen, i)) {}
        return;
      }
    }
  });
  if (first_bad < rows) refuse_row(std::is_integral_v<Score> ? "a value other than 0 and 1" : "NaN", first_bad);
}

template void pack(const float*, std::size_t, std::size_t, double, std::uint64_t*, int, Progress&);
template void pack(const double*, std::size_t, std::size_t, double, std::uint64_t*, int, Progress&);
template void pack(const std::uint8_t*, std::size_t, std::size_t, double, std::uint64_t*, int, Progress&);

void unpack(const Codes& codes, std::size_t attributes, std::uint8_t* out, int threads, Progress& progress) {
  parallel_ranges(threads, codes.size, grain, progress, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t a = 0; a < attributes; ++a)
        out[i * attributes + a] = static_cast<std::uint8_t>(codes[i][a / 64] >> (a % 64) & 1);
  });
}

Distinct distinct(const Codes& codes, std::int64_t* inverse, Progress& progress) {
  return with_width(codes.width, [&]<int W>() { return distinct<W>(codes, inverse, progress); });
}

}  // namespace facetools
