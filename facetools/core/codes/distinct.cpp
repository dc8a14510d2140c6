#include "codes/distinct.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace facetools {

namespace {

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

// A hash table with open addressing and linear probing, at most half full. A slot holds 32 bits of the hash as a tag,
// so that codes are rarely compared in vain.
template <int W>
class CodeTable {
 public:
  explicit CodeTable(DistinctCodes& distinct) : distinct_(distinct), slots_(1024), mask_(slots_.size() - 1) {}

  void prefetch(std::uint64_t h) const { __builtin_prefetch(&slots_[h & mask_]); }

  // The index of a code among the distinct codes. A new code is appended to them.
  std::uint32_t find_or_append(const std::uint64_t* code, std::uint64_t h, std::int64_t row) {
    const auto tag = static_cast<std::uint32_t>(h >> 32);
    for (std::size_t s = h & mask_;; s = (s + 1) & mask_) {
      const Slot slot = slots_[s];
      if (slot.index == empty) {
        const std::uint32_t index = append(code, row);
        slots_[s] = {tag, index};
        if (2 * distinct_.counts.size() > slots_.size()) grow();
        return index;
      }
      if (slot.tag == tag && std::equal(code, code + W, &distinct_.codes[std::size_t{slot.index} * W]))
        return slot.index;
    }
  }

 private:
  static constexpr std::uint32_t empty = UINT32_MAX;
  struct Slot {
    std::uint32_t tag = 0, index = empty;
  };

  std::uint32_t append(const std::uint64_t* code, std::int64_t row) {
    if (distinct_.counts.size() >= empty) throw std::invalid_argument("codes: 2^32 - 1 or more distinct codes");
    distinct_.codes.insert(distinct_.codes.end(), code, code + W);
    distinct_.counts.push_back(0);
    distinct_.first_rows.push_back(row);
    return static_cast<std::uint32_t>(distinct_.counts.size() - 1);
  }

  void grow() {
    slots_.assign(slots_.size() * 4, Slot{});
    mask_ = slots_.size() - 1;
    for (std::uint32_t i = 0; i < distinct_.counts.size(); ++i) {
      const std::uint64_t h = hash<W>(&distinct_.codes[std::size_t{i} * W]);
      std::size_t s = h & mask_;
      while (slots_[s].index != empty) s = (s + 1) & mask_;
      slots_[s] = {static_cast<std::uint32_t>(h >> 32), i};
    }
  }

  DistinctCodes& distinct_;
  std::vector<Slot> slots_;
  std::size_t mask_;
};

template <int W>
DistinctCodes find_distinct(const Codes& codes, std::int64_t* inverse, Progress& progress) {
  DistinctCodes distinct;
  CodeTable<W> table(distinct);
  std::array<std::uint64_t, 32> hashes;  // of rows whose slots are being prefetched
  for (std::size_t begin = 0; begin < codes.size; begin += hashes.size()) {
    const std::size_t end = std::min(codes.size, begin + hashes.size());
    for (std::size_t i = begin; i < end; ++i) table.prefetch(hashes[i - begin] = hash<W>(codes[i]));
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t index = table.find_or_append(codes[i], hashes[i - begin], static_cast<std::int64_t>(i));
      ++distinct.counts[index];
      inverse[i] = index;
    }
    if (begin % (1 << 20) == 0) progress(static_cast<double>(begin) / static_cast<double>(codes.size));
  }
  return distinct;
}

}  // namespace

DistinctCodes find_distinct(const Codes& codes, std::int64_t* inverse, Progress& progress) {
  switch (codes.width) {
    case 1: return find_distinct<1>(codes, inverse, progress);
    case 2: return find_distinct<2>(codes, inverse, progress);
    case 3: return find_distinct<3>(codes, inverse, progress);
    default: return find_distinct<4>(codes, inverse, progress);
  }
}

}  // namespace facetools
