#include "codes/pack.hpp"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace facetools {

namespace {

constexpr std::size_t grain = 4096;

}  // namespace

template <class Value>
void pack(const Value* values, std::size_t rows, std::size_t attributes, double threshold, std::uint64_t* codes,
          int threads, Progress& progress) {
  const std::size_t width = std::max<std::size_t>(1, (attributes + 63) / 64);
  std::atomic<std::size_t> first_invalid{rows};
  parallel_ranges(threads, rows, grain, progress, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      bool invalid = false;
      for (std::size_t w = 0; w < width; ++w) {
        const Value* row = values + i * attributes + 64 * w;
        const std::size_t bits = std::min<std::size_t>(64, attributes - 64 * w);
        std::uint64_t word = 0;
        for (std::size_t j = 0; j < bits; ++j) {
          if constexpr (std::is_integral_v<Value>) {
            word |= static_cast<std::uint64_t>(row[j] != 0) << j;
            invalid |= row[j] > 1;
          } else {
            word |= static_cast<std::uint64_t>(static_cast<double>(row[j]) >= threshold) << j;
            invalid |= row[j] != row[j];
          }
        }
        codes[i * width + w] = word;
      }
      if (invalid) {
        std::size_t current = first_invalid.load();
        while (i < current && !first_invalid.compare_exchange_weak(current, i)) {}
        return;
      }
    }
  });
  if (first_invalid < rows)
    throw std::invalid_argument(
        std::string("rows: ") + (std::is_integral_v<Value> ? "a value other than 0 and 1" : "NaN") + " in row " +
        std::to_string(first_invalid));
}

template void pack(const float*, std::size_t, std::size_t, double, std::uint64_t*, int, Progress&);
template void pack(const double*, std::size_t, std::size_t, double, std::uint64_t*, int, Progress&);
template void pack(const std::uint8_t*, std::size_t, std::size_t, double, std::uint64_t*, int, Progress&);

void unpack(const Codes& codes, std::size_t attributes, std::uint8_t* values, int threads, Progress& progress) {
  parallel_ranges(threads, codes.size, grain, progress, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t a = 0; a < attributes; ++a)
        values[i * attributes + a] = static_cast<std::uint8_t>(codes[i][a / 64] >> (a % 64) & 1);
  });
}

}  // namespace facetools
