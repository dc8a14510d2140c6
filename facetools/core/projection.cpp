#include "projection.hpp"

#include "product.hpp"

namespace facetools {

void normalise_project(const Planes& planes, std::size_t group, const Scale& scale, const Projection& projection,
                       float* out, int threads, Progress& progress) {
  const std::size_t outputs = projection.outputs, channels = planes.channels, columns = padded(outputs);
  const Normalisation by(scale, channels);
  const Aligned<float> weights = aligned<float>(channels * columns);
  transpose(projection.weights, outputs, channels, columns, weights.get(), threads, progress);
  const Ready ready(projection.products, Columns{weights.get(), channels, columns, columns}, threads);
  parallel_ranges(threads, planes.places, at_a_time, progress, [&](std::size_t from, std::size_t end) {
    const std::size_t count = end - from;
    const Aligned<float> kept = room<float>(count * group);
    Unpadded rows(count, outputs);
    for (std::size_t c = 0; c < channels; c += group) {
      kernels().layers.clamp(by.affine().from(c), planes.values + c * planes.places + from * group, count, group, false,
                             kept.get());
      projection.products.multiply({kept.get(), count, group, group, 1}, ready->terms_from(c, group), c > 0,
                                   rows.made_at(out + from * outputs));
    }
    rows.put(count, out + from * outputs);
  });
}

}  // namespace facetools
