#include "adadelta.hpp"

#include <algorithm>
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

void adadelta(const std::vector<Learned>& all, const AdaDelta& by, int threads, Progress& progress) {
  constexpr std::size_t grain = 65536;
  std::vector<Learned> parts;
  for (const Learned& some : all)
    for (std::size_t begin = 0; begin < some.size; begin += grain)
      parts.push_back({some.parameters + begin, some.gradients + begin, some.squares + begin, some.steps + begin,
                       std::min(grain, some.size - begin)});
  parallel_for(threads, parts.size(), progress, [&](std::size_t number) {
    const Learned& part = parts[number];
    learn(part.parameters, part.gradients, part.squares, part.steps, part.size, by);
  });
}

}  // namespace facetools
