#include "adadelta.hpp"

#include <cmath>

namespace facetools {

namespace {

// The arrays lie apart, and what they learn by comes by value, so that compilers make vectors of all this.
void learn(float* __restrict parameters, const float* __restrict gradients, float* __restrict squares,
           float* __restrict steps, std::size_t size, AdaDelta by) {
  const float fresh = 1 - by.decay;
  for (std::size_t i = 0; i < size; ++i) {
    const float gradient = gradients[i] + by.weight_decay * parameters[i];
    const float square = by.decay * squares[i] + fresh * gradient * gradient;
    const float step = std::sqrt(steps[i] + by.epsilon) / std::sqrt(square + by.epsilon) * gradient;
    squares[i] = square;
    steps[i] = by.decay * steps[i] + fresh * step * step;
    parameters[i] -= by.rate * step;
  }
}

}  // namespace

void adadelta(const Learned& learned, const AdaDelta& by, int threads, Progress& progress) {
  parallel_ranges(threads, learned.size, 65536, progress, [&](std::size_t begin, std::size_t end) {
    learn(learned.parameters + begin, learned.gradients + begin, learned.squares + begin, learned.steps + begin,
          end - begin, by);
  });
}

}  // namespace facetools
