#include "depthwise.hpp"

#include <vector>

#include "maps.hpp"

namespace facetools {

namespace {

const Layers& layers() { return kernels().layers; }

// Rows of maps that lie in memory and are normalised when they are read.
class Stored {
 public:
  Stored(const Maps& maps, const Affine& by) : maps_(maps), by_(by) {}

  void read(std::size_t map, std::size_t row, float* out) const {
    layers().clamp(by_, maps_.values + at(map, row), maps_.width, maps_.channels, false, out);
  }

 protected:
  std::size_t at(std::size_t map, std::size_t row) const {
    return (map * maps_.height + row) * maps_.width * maps_.channels;
  }

  const Maps& maps_;
  Affine by_;
};

// The same on the way back, where what passes of the gradients by them is brought to `out`, and summed up by channel,
// alone and times the centred values.
class StoredBack : public Stored {
 public:
  StoredBack(const Maps& maps, const Affine& by, float* out, bool past)
      : Stored(maps, by), out_(out), past_(past), passed_(2 * maps.channels, short_sum) {}

  void take(std::size_t map, std::size_t row, const float*, float* gradient) {
    float* const sum = passed_.partial.get();
    layers().take_passed(by_, maps_.values + at(map, row), gradient, maps_.width, maps_.channels, past_,
                         out_ + at(map, row), sum, sum + maps_.channels);
    passed_.added(maps_.width);
  }

  std::vector<double> sums() { return passed_.flushed(); }

 private:
  float* out_;
  bool past_;
  Sums passed_;
};

}  // namespace

void depthwise(const Maps& maps, const Scale& scale, const float* filters, float* out, const Moments& moments,
               int threads, Progress& progress) {
  const Normalisation by(scale, maps.channels);
  filter_maps({maps, filters}, [&] { return Stored(maps, by.affine()); }, out, moments, threads, progress);
}

void depthwise_backward(const Maps& maps, const Scale& scale, const float* filters, const Filtered& filtered,
                        const float* outer, const DepthwiseGradients& out, int threads, Progress& progress) {
  const Normalisation by(scale, maps.channels);
  const Normalisation after(filtered.scale, maps.channels);
  const std::size_t width = maps.filtered_width();
  const Drag after_drag = drag_of({filtered.values, maps.count * maps.filtered_height() * width, maps.channels},
                                  filtered.scale, outer, out.by_filtered_scale, threads, progress);
  const auto gradient = [&](std::size_t row, float* to) {
    const std::size_t at = row * width * maps.channels;
    layers().descend(after.affine(), after_drag.shift(), after_drag.slope(), filtered.values + at, outer + at, width,
                     maps.channels, false, to);
  };
  const Planes planes{maps.values, maps.count * maps.height * maps.width, maps.channels};
  const bool past = goes_past_cache(out.by_map, planes.places * planes.channels);
  const std::vector<double> sums = descend_maps(
      {maps, filters}, [&] { return StoredBack(maps, by.affine(), out.by_map, past); }, gradient, threads, progress);
  const double* const passed = sums.data() + 9 * maps.channels;
  for (std::size_t i = 0; i < 9 * maps.channels; ++i) out.by_filter[i] = static_cast<float>(sums[i]);
  const Drag drag(scale, planes.places, passed, passed + maps.channels, maps.channels, out.by_scale);
  descend(planes, scale, drag, out.by_map, out.by_map, threads, progress);
}

}  // namespace facetools
