#include "anew.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "maps.hpp"
#include "projection.hpp"

namespace facetools {

namespace {

const Layers& layers() { return kernels().layers; }

// out = or, with `add`, += a b, in float32.
void multiply(const Factor& a, const Columns& b, bool add, float* out) { layers().products.multiply(a, b, add, out); }

// Places of a task, by which sums are made: few enough for some threads, and for few tasks.
std::size_t places_of_task(std::size_t places) {
  return at_a_time * std::clamp<std::size_t>(places / (16 * at_a_time), 1, 32);
}

// What each row of a kernel sees of images, for a row of maps: a matrix (width, inputs of that row).
class Lines {
 public:
  Lines(const Expansion& expansion, const MapShape& maps)
      : of_(expansion),
        height_(maps.height),
        width_(maps.width),
        line_(aligned<float>((expansion.width + 2) * expansion.channels)) {}

  std::size_t inputs() const { return of_.kernel * of_.channels; }

  // It lasts until the next one.
  Factor at(std::size_t map, std::size_t row, std::size_t of_kernel) {
    const std::size_t size = of_.width * of_.channels;
    if (of_.kernel == 1)
      return {of_.images + (map * height_ + row) * size, width_, of_.channels, of_.channels, 1};
    const std::size_t seen = row * of_.stride + of_kernel;  // the border counted
    float* const inside = line_.get() + of_.channels;
    if (seen >= 1 && seen <= of_.height)
      std::copy_n(of_.images + (map * of_.height + seen - 1) * size, size, inside);
    else
      std::fill_n(inside, size, 0.0F);
    return {line_.get(), width_, inputs(), of_.stride * of_.channels, 1};
  }

 private:
  Expansion of_;
  std::size_t height_, width_;
  Aligned<float> line_;
};

// What rows of a group of channels, from the first of them on, are made by, and what leads their gradients back.
class Making {
 public:
  Making(const Expansion& of, const Grouped& all, std::size_t first, const Scale& scale)
      : maps(all.one()),
        by(scale.from(first), all.group),
        columns(padded(of.inputs())),
        weights(columns_of(of.weights, of.inputs(), all.all.channels, first, all.group)),
        expansion{of.images, of.height, of.width, of.channels, of.kernel, of.stride, weights.get()},
        back(aligned<float>(all.group * columns)),
        zeros_(aligned<float>(all.group)),
        ones_(aligned<float>(all.group)) {
    std::fill_n(ones_.get(), maps.channels, 1.0F);
    for (std::size_t c = 0; c < maps.channels; ++c)
      for (std::size_t i = 0; i < of.inputs(); ++i)
        back[c * columns + i] = by.affine().factor[c] * weights[i * maps.channels + c];
  }

  Affine unchanged() const { return {zeros_.get(), ones_.get(), zeros_.get()}; }

  const MapShape maps;
  const Normalisation by;
  const std::size_t columns;  // the inputs, padded
  const Aligned<float> weights;
  const Expansion expansion;
  const Aligned<float> back;  // the weights times the factors of the channels (channels, columns)

 private:
  Aligned<float> zeros_, ones_;
};

// Rows of maps, made when they are read.
class Expanded {
 public:
  explicit Expanded(const Making& making) : making_(making), lines_(making.expansion, making.maps) {}

  void read(std::size_t map, std::size_t row, float* out) {
    const std::size_t channels = making_.maps.channels, block = lines_.inputs() * channels;
    for (std::size_t k = 0; k < making_.expansion.kernel; ++k)
      multiply(lines_.at(map, row, k), {making_.weights.get() + k * block, lines_.inputs(), channels, channels}, k > 0,
               out);
    layers().clamp(making_.by.affine(), out, making_.maps.width, channels, false, out);
  }

 protected:
  const Making& making_;
  Lines lines_;
};

// The same on the way back, where what passes of the gradients by them, with nothing lost yet, is brought or, with
// `add`, added to the images, if they want it, and summed up with the images (inputs, channels) and by channel.
class ExpandedBack : public Expanded {
 public:
  ExpandedBack(const Making& making, float* by_image, bool add)
      : Expanded(making),
        by_image_(by_image),
        add_(add),
        by_row_(making.maps.width, making.expansion.inputs()),
        passed_(2 * making.maps.channels, short_sum),
        by_weight_(making.expansion.inputs() * making.maps.channels, 1024) {}

  void take(std::size_t map, std::size_t row, const float* values, float* gradient) {
    const std::size_t width = making_.maps.width, channels = making_.maps.channels, block = lines_.inputs() * channels;
    float* const sum = passed_.partial.get();
    // Values that are kept from 0 to 6 tell as well what passes. Its products with them are of no use.
    layers().take_passed(making_.unchanged(), values, gradient, width, channels, gradient, sum, sum + channels);
    passed_.added(width);
    for (std::size_t k = 0; k < making_.expansion.kernel; ++k) {
      const Factor line = lines_.at(map, row, k);
      multiply(line.turned(), {gradient, width, channels, channels}, true, by_weight_.partial.get() + k * block);
    }
    by_weight_.added(width);
    if (by_image_ != nullptr) bring_back(gradient, (map * making_.maps.height + row) * width);
  }

  std::vector<double> sums() { return joined(by_weight_.flushed(), passed_.flushed()); }

 private:
  // What passes, to the images from a place on.
  void bring_back(const float* passing, std::size_t place) {
    const std::size_t channels = making_.maps.channels, width = making_.maps.width;
    float *const to = by_image_ + place * lines_.inputs(), *const made = by_row_.made_at(to);
    // What is made elsewhere is added afterwards.
    multiply({passing, width, channels, channels, 1},
             {making_.back.get(), channels, making_.columns, making_.columns}, add_ && made == to, made);
    add_ ? by_row_.add(width, to) : by_row_.put(width, to);
  }

  float* by_image_;
  bool add_;
  Unpadded by_row_;
  Sums passed_, by_weight_;
};

// What is summed up of all places of what is projected.
std::vector<double> sums_of(const Projected& projected, const Planes& planes, std::size_t outputs,
                            const ProjectedGradient& gradient, int threads, Progress& progress) {
  const std::size_t grain = places_of_task(planes.places);
  std::vector<std::vector<double>> of_ranges((planes.places + grain - 1) / grain);
  parallel_ranges_by(threads, planes.places, grain, progress, [&] {
    return [&, inner = room<float>(at_a_time * planes.channels), found = Projected::Found(outputs, planes.channels)](
               std::size_t begin, std::size_t end) mutable {
      for (std::size_t from = begin; from < end; from += at_a_time) {
        const std::size_t count = std::min(at_a_time, end - from);
        projected.spread(gradient, from, count, inner.get());
        projected.add(gradient, from, count, inner.get(), found);
      }
      of_ranges[begin / grain] = found.sums();
    };
  });
  return added_up(of_ranges);
}

// Of a group of channels, the gradients by the weights and by the normalisation of the maps, from the sums of what
// passes, times the inputs (inputs, channels) and alone; and what the latter lose.
Drag drag_of(const Making& making, const InputMoments<const double>& moments, std::size_t first, const Scale& scale,
             std::vector<double> with_inputs, const double* passed, const BottleneckGradients& out) {
  const std::size_t inputs = making.expansion.inputs(), channels = making.maps.channels, places = making.maps.places();
  std::vector<double> with_values(channels);  // what passes times the centred values
  for (std::size_t i = 0; i < inputs; ++i)
    for (std::size_t c = 0; c < channels; ++c) {
      double& centred = with_inputs[i * channels + c];
      centred -= moments.mean(i) * passed[c];
      with_values[c] += centred * static_cast<double>(making.weights[i * channels + c]);
    }
  Drag drag(scale, places, passed, with_values.data(), channels, out.by_scale.from(first));
  for (std::size_t i = 0; i < inputs; ++i)
    for (std::size_t c = 0; c < channels; ++c) {
      const auto slope = static_cast<double>(drag.slope()[c]) * static_cast<double>(places);
      with_inputs[i * channels + c] = static_cast<double>(making.by.affine().factor[c]) *
                                      (with_inputs[i * channels + c] - slope * moments.covariances(i)[first + c]);
    }
  put_columns(with_inputs.data(), inputs, moments.channels, first, channels, out.by_weights);
  return drag;
}

// What the gradients by the maps of a group lose, linear in the images as the maps are: by input, of each input and at
// 0, (inputs + 1, padded inputs). With `add` it is added to what other groups lose.
void lose(const Making& making, const Scale& scale, const Drag& drag, bool add, float* lost) {
  const std::size_t inputs = making.expansion.inputs(), channels = making.maps.channels;
  const Aligned<float> by_channel = room<float>((inputs + 1) * channels);
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = 0; i < inputs; ++i)
      by_channel[i * channels + c] = drag.slope()[c] * making.weights[i * channels + c];
    by_channel[inputs * channels + c] = drag.shift()[c] - drag.slope()[c] * scale.mean[c];
  }
  multiply({by_channel.get(), inputs + 1, channels, channels, 1},
           {making.back.get(), channels, making.columns, making.columns}, add, lost);
}

// Takes what is lost from the gradient by the images, and adds what else comes to them.
void take_lost(const float* images, std::size_t places, std::size_t inputs, const float* lost, float* by_image,
               const float* besides, int threads, Progress& progress) {
  const std::size_t columns = padded(inputs);
  parallel_ranges(threads, places, places_of_task(places), progress, [&](std::size_t begin, std::size_t end) {
    const Aligned<float> of_images = room<float>(at_a_time * columns);
    for (std::size_t from = begin; from < end; from += at_a_time) {
      const std::size_t count = std::min(at_a_time, end - from);
      multiply({images + from * inputs, count, inputs, inputs, 1}, {lost, inputs, columns, columns}, false,
               of_images.get());
      const float* const at_zero = lost + inputs * columns;
      for (std::size_t place = 0; place < count; ++place)
        for (std::size_t i = 0; i < inputs; ++i)
          by_image[(from + place) * inputs + i] -= of_images[place * columns + i] + at_zero[i];
      if (besides != nullptr)
        for (std::size_t i = from * inputs; i < (from + count) * inputs; ++i) by_image[i] += besides[i];
    }
  });
}

// What the kernel sees at the first place.
std::vector<float> first_inputs(const Expansion& expansion, const MapShape& maps) {
  Lines lines(expansion, maps);
  std::vector<float> first;
  for (std::size_t k = 0; k < expansion.kernel; ++k) {
    const float* const values = lines.at(0, 0, k).values;
    first.insert(first.end(), values, values + lines.inputs());
  }
  return first;
}

// Sums over some rows of maps, of their number among all, of what lies between inputs and `origin`, and then of its
// products.
std::vector<double> sums_away(const Expansion& expansion, const MapShape& maps, const std::vector<float>& origin,
                              std::size_t begin, std::size_t end) {
  const std::size_t inputs = expansion.inputs(), columns = padded(inputs);
  Lines lines(expansion, maps);
  const Aligned<float> away = aligned<float>(maps.width * columns), ones = aligned<float>(maps.width);
  std::fill_n(ones.get(), maps.width, 1.0F);
  Sums sums((inputs + 1) * columns, 512);
  for (std::size_t row = begin; row < end; ++row) {
    for (std::size_t k = 0; k < expansion.kernel; ++k) {
      const Factor line = lines.at(row / maps.height, row % maps.height, k);
      const std::size_t first = k * line.inner;
      for (std::size_t place = 0; place < maps.width; ++place)
        for (std::size_t i = 0; i < line.inner; ++i)
          away[place * columns + first + i] = line.values[place * line.row_step + i] - origin[first + i];
    }
    const Columns places{away.get(), maps.width, columns, columns};
    multiply({ones.get(), 1, maps.width, maps.width, 1}, places, true, sums.partial.get());
    multiply({away.get(), inputs, maps.width, 1, columns}, places, true, sums.partial.get() + columns);
    sums.added(maps.width);
  }
  return sums.flushed();
}

}  // namespace

void expanded_moments(const Expansion& expansion, const MapShape& maps, const InputMoments<double>& moments,
                      const Moments& out, int threads, Progress& progress) {
  const std::size_t inputs = expansion.inputs(), columns = padded(inputs), channels = maps.channels;
  const std::size_t rows = maps.count * maps.height;
  const std::size_t some = std::max<std::size_t>(1, places_of_task(rows * maps.width) / maps.width);
  // So that a mean far from 0 costs no digits.
  const std::vector<float> origin = first_inputs(expansion, maps);
  std::vector<std::vector<double>> of_ranges((rows + some - 1) / some);
  parallel_ranges(threads, rows, some, progress, [&](std::size_t begin, std::size_t end) {
    of_ranges[begin / some] = sums_away(expansion, maps, origin, begin, end);
  });
  const std::vector<double> sums = added_up(of_ranges);
  const auto weight = [&](std::size_t i, std::size_t c) {
    return static_cast<double>(expansion.weights[i * channels + c]);
  };
  const auto count = static_cast<double>(rows * maps.width);
  std::vector<double> means(channels), variances(channels);
  for (std::size_t i = 0; i < inputs; ++i) {
    moments.mean(i) = static_cast<double>(origin[i]) + sums[i] / count;
    double* const covariances = moments.covariances(i);
    std::fill_n(covariances, channels, 0.0);
    for (std::size_t j = 0; j < inputs; ++j) {
      const double both = (sums[(i + 1) * columns + j] - sums[i] * sums[j] / count) / count;
      for (std::size_t c = 0; c < channels; ++c) covariances[c] += both * weight(j, c);
    }
    for (std::size_t c = 0; c < channels; ++c) {
      means[c] += moments.mean(i) * weight(i, c);
      variances[c] += covariances[c] * weight(i, c);
    }
  }
  for (std::size_t c = 0; c < channels; ++c) {
    out.mean[c] = static_cast<float>(means[c]);
    out.variance[c] = static_cast<float>(std::max(0.0, variances[c]));
  }
}

void expanded_depthwise(const Expansion& expansion, const Grouped& maps, const Scale& scale, const float* filters,
                        float* out, const Moments& moments, int threads, Progress& progress) {
  const MapShape one = maps.one();
  for (std::size_t first = 0; first < maps.all.channels; first += maps.group) {
    const Making making(expansion, maps, first, scale);
    const Aligned<float> taps = taps_of(filters + 9 * first, maps.group);
    filter_maps({one, taps.get()}, [&] { return Expanded(making); }, out + first * one.filtered_places(),
                moments.from(first), threads, progress);
  }
}

void anew_backward(const Expansion& expansion, const InputMoments<const double>& moments, const Grouped& maps,
                   const Scale& scale, const float* filters, const Filtered& filtered, const Projection& projection,
                   const float* gradient, const BottleneckGradients& out, int threads, Progress& progress) {
  const MapShape one = maps.one();
  const std::size_t channels = maps.all.channels, group = maps.group, outputs = projection.outputs;
  const std::size_t inputs = expansion.inputs(), places = one.filtered_places(), width = one.filtered_width();
  const ProjectedGradient outer({gradient, places, outputs, outputs, 1}, projection.products, threads);
  const Aligned<float> lost = room<float>((inputs + 1) * padded(inputs));
  for (std::size_t first = 0; first < channels; first += group) {
    const Aligned<float> weights_of = columns_of(projection.weights, outputs, channels, first, group);
    const Planes planes{filtered.values + first * places, places, group};
    const Scale after = filtered.scale.from(first);
    const Projected projected(planes, after, {outputs, weights_of.get(), projection.products});
    const std::vector<double> sums = sums_of(projected, planes, outputs, outer, threads, progress);
    put_columns(sums.data() + 2 * group, outputs, channels, first, group, out.by_projection);
    const Drag after_drag(after, places, sums.data(), sums.data() + group, group, out.by_filtered_scale.from(first));

    const Making making(expansion, maps, first, scale);
    const Aligned<float> taps = taps_of(filters + 9 * first, group);
    const std::vector<double> back = descend_maps(
        {one, taps.get()}, [&] { return ExpandedBack(making, out.by_images, first > 0); },
        [&](std::size_t row, float* to) {
          projected.spread(outer, row * width, width, to);
          projected.descend(after_drag, row * width, width, to, to);
        },
        threads, progress);
    put_taps(back.data(), group, out.by_filters + 9 * first);
    const double *const with_inputs = back.data() + 9 * group, *const passed = with_inputs + inputs * group;
    const Scale before = scale.from(first);
    const Drag drag = drag_of(making, moments, first, before, {with_inputs, passed}, passed, out);
    if (out.by_images != nullptr) lose(making, before, drag, first > 0, lost.get());
  }
  if (out.by_images != nullptr)
    take_lost(expansion.images, maps.all.places(), inputs, lost.get(), out.by_images, out.besides, threads, progress);
}

}  // namespace facetools
