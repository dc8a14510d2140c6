#include "codes/mixture.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "codes/aligned_array.hpp"
#include "codes/code_blocks.hpp"
#include "simd/kernels.hpp"

namespace facetools {

namespace {

constexpr std::size_t group_size = 8;  // clusters that the kernels process together
constexpr std::size_t tile_size = 64;  // codes whose posteriors are in the cache at a time
constexpr std::size_t grain = 4096;

// The codes of a block for mixture_expect. At most 64 blocks keep their sums.
std::size_t block_grain(std::size_t size) { return std::max<std::size_t>(2 * grain, (size + 63) / 64); }

// The tables of simd/mixture_tables.hpp.
class Tables {
 public:
  explicit Tables(const Mixture& mixture)
      : planes_(plane_count(mixture.attributes)),
        groups_((mixture.clusters + group_size - 1) / group_size),
        entries_(make_aligned<double>(planes_ * 256 * width())),
        log_weights_(make_aligned<double>(width())) {
    std::fill_n(log_weights_.get(), width(), -std::numeric_limits<double>::infinity());
    std::copy_n(mixture.log_weights, mixture.clusters, log_weights_.get());
    for (std::size_t p = 0; p < planes_; ++p)
      for (std::size_t byte = 0; byte < 256; ++byte) {
        double* entries = &entries_[(p * 256 + byte) * width()];
        for (std::size_t a = 8 * p; a < std::min(mixture.attributes, 8 * p + 8); ++a) {
          const double* logs = (byte >> (a % 8) & 1 ? mixture.log_present : mixture.log_absent) + a;
          for (std::size_t c = 0; c < mixture.clusters; ++c) entries[c] += logs[c * mixture.attributes];
        }
      }
  }

  std::size_t planes() const { return planes_; }
  std::size_t width() const { return group_size * groups_; }  // clusters with padding

  // The arguments are those of the kernel of the same name.
  void posteriors(const std::uint8_t* rows, std::size_t count, double* values, double* maxima, double* sums) const {
    kernels().mixture_posteriors(entries_.get(), planes_, groups_, log_weights_.get(), rows, count, values, maxima,
                                 sums);
  }

  void add_posteriors(const double* values, const std::uint8_t* rows, std::size_t count, const double* counts,
                      double* histograms) const {
    kernels().add_posteriors(values, groups_, rows, planes_, count, counts, histograms);
  }

 private:
  std::size_t planes_, groups_;
  AlignedArray<double> entries_;      // (planes, 256, width)
  AlignedArray<double> log_weights_;  // (width,)
};

// The posteriors of up to tile_size codes.
class Tile {
 public:
  explicit Tile(const Tables& tables)
      : tables_(tables), bytes_(tile_size * tables.planes()), values_(make_aligned<double>(tile_size * tables.width())) {}

  void compute(const Codes& codes, std::size_t begin, std::size_t count) {
    std::uint8_t* next = bytes_.data();
    for (std::size_t i = begin; i < begin + count; ++i)
      for (std::size_t p = 0; p < tables_.planes(); ++p) *next++ = code_byte(codes[i], static_cast<int>(p));
    tables_.posteriors(bytes_.data(), count, values_.get(), maxima_, sums_);
  }

  const std::uint8_t* bytes() const { return bytes_.data(); }
  const double* values() const { return values_.get(); }
  const double* values(std::size_t i) const { return values_.get() + i * tables_.width(); }
  double log_likelihood(std::size_t i) const { return maxima_[i] + std::log(sums_[i]); }

 private:
  const Tables& tables_;
  std::vector<std::uint8_t> bytes_;  // (tile_size, planes)
  AlignedArray<double> values_;      // (tile_size, width)
  double maxima_[tile_size], sums_[tile_size];
};

// Splits the sums per byte value (planes, 256, width) into sums per attribute: over the bytes with and without its bit.
void split_histograms(const double* histograms, const Tables& tables, const Mixture& mixture, MixtureCounts& counts) {
  const std::size_t width = tables.width();
  std::vector<double> nibbles(2 * 16 * width), with(width), without(width);
  for (std::size_t p = 0; p < tables.planes(); ++p) {
    std::fill(nibbles.begin(), nibbles.end(), 0.0);
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const double* entries = histograms + (p * 256 + byte) * width;
      double *lower = &nibbles[byte % 16 * width], *upper = &nibbles[(16 + byte / 16) * width];
      for (std::size_t c = 0; c < width; ++c) {
        lower[c] += entries[c];
        upper[c] += entries[c];
      }
    }
    if (p == 0)
      for (std::size_t nibble = 0; nibble < 16; ++nibble)
        for (std::size_t c = 0; c < mixture.clusters; ++c) counts.sizes[c] += nibbles[nibble * width + c];
    for (std::size_t a = 8 * p; a < std::min(mixture.attributes, 8 * p + 8); ++a) {
      std::fill(with.begin(), with.end(), 0.0);
      std::fill(without.begin(), without.end(), 0.0);
      for (std::size_t nibble = 0; nibble < 16; ++nibble) {
        const double* entries = &nibbles[(a % 8 / 4 * 16 + nibble) * width];
        double* sums = (nibble >> (a % 4) & 1 ? with : without).data();
        for (std::size_t c = 0; c < width; ++c) sums[c] += entries[c];
      }
      for (std::size_t c = 0; c < mixture.clusters; ++c) {
        counts.present[c * mixture.attributes + a] = with[c];
        counts.absent[c * mixture.attributes + a] = without[c];
      }
    }
  }
}

MixtureCounts make_counts(const Mixture& mixture) {
  const std::size_t cells = mixture.clusters * mixture.attributes;
  return {std::vector<double>(mixture.clusters), std::vector<double>(cells), std::vector<double>(cells)};
}

void add(std::vector<double>& total, const std::vector<double>& part) {
  for (std::size_t k = 0; k < total.size(); ++k) total[k] += part[k];
}

}  // namespace

MixtureCounts mixture_expect(const Codes& codes, const std::int64_t* counts, const Mixture& mixture, int threads,
                             Progress& progress) {
  const Tables tables(mixture);
  const std::size_t block = block_grain(codes.size);
  std::vector<MixtureCounts> parts((codes.size + block - 1) / block);
  parallel_ranges(threads, codes.size, block, progress, [&](std::size_t begin, std::size_t end) {
    MixtureCounts& part = parts[begin / block] = make_counts(mixture);
    const auto histograms = make_aligned<double>(tables.planes() * 256 * tables.width());
    Tile tile(tables);
    double faces[tile_size];
    for (std::size_t first = begin; first < end; first += tile_size) {
      const std::size_t count = std::min(tile_size, end - first);
      tile.compute(codes, first, count);
      for (std::size_t i = 0; i < count; ++i) {
        faces[i] = static_cast<double>(counts[first + i]);
        part.log_likelihood += faces[i] * tile.log_likelihood(i);
      }
      tables.add_posteriors(tile.values(), tile.bytes(), count, faces, histograms.get());
    }
    split_histograms(histograms.get(), tables, mixture, part);
  });
  MixtureCounts total = make_counts(mixture);
  for (const MixtureCounts& part : parts) {
    add(total.sizes, part.sizes);
    add(total.present, part.present);
    add(total.absent, part.absent);
    total.log_likelihood += part.log_likelihood;
  }
  return total;
}

void mixture_posteriors(const Codes& codes, const Mixture& mixture, double* posteriors, int threads,
                        Progress& progress) {
  const Tables tables(mixture);
  parallel_ranges(threads, codes.size, grain, progress, [&](std::size_t begin, std::size_t end) {
    Tile tile(tables);
    for (std::size_t first = begin; first < end; first += tile_size) {
      const std::size_t count = std::min(tile_size, end - first);
      tile.compute(codes, first, count);
      for (std::size_t i = 0; i < count; ++i)
        std::copy_n(tile.values(i), mixture.clusters, posteriors + (first + i) * mixture.clusters);
    }
  });
}

}  // namespace facetools
