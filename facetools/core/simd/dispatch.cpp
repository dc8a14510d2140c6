#include "simd/kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace facetools {

namespace {

// From the most to the least capable.
std::vector<const Kernels*> available() {
  std::vector<const Kernels*> levels;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
      __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq"))
    levels.push_back(&avx512_kernels());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt"))
    levels.push_back(&avx2_kernels());
#elif defined(__aarch64__)
  levels.push_back(&neon_kernels());
#endif
  levels.push_back(&portable_kernels());
  return levels;
}

const Kernels& choose() {
  const auto levels = available();
  const char* wanted = std::getenv("FACETOOLS_SIMD");
  if (!wanted || !*wanted) return *levels.front();
  std::string known;
  for (const Kernels* level : levels) {
    if (std::string_view(wanted) == level->name) return *level;
    known += (known.empty() ? "" : ", ") + std::string(level->name);
  }
  throw std::invalid_argument("FACETOOLS_SIMD: " + std::string(wanted) + " is not to be had here (" + known + ")");
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

const Kernels& kernels_for(std::size_t bits) { return bits > 255 ? portable_kernels() : kernels(); }

}  // namespace facetools
