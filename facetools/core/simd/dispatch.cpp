// The choice of the SIMD level at run time.
#include "simd/kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace facetools {

namespace {

// The levels that this processor supports, the fastest first.
std::vector<const Kernels*> supported_levels() {
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

const Kernels& choose_level() {
  const auto levels = supported_levels();
  const char* requested = std::getenv("FACETOOLS_SIMD");
  if (!requested || !*requested) return *levels.front();
  std::string names;
  for (const Kernels* level : levels) {
    if (std::string_view(requested) == level->name) return *level;
    names += (names.empty() ? "" : ", ") + std::string(level->name);
  }
  throw std::invalid_argument("FACETOOLS_SIMD: " + std::string(requested) +
                              " is not available on this machine (available: " + names + ")");
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& level = choose_level();
  return level;
}

const Kernels& kernels_for(std::size_t bits) { return bits > 255 ? portable_kernels() : kernels(); }

}  // namespace facetools
