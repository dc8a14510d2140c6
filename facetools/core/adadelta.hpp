// A step of AdaDelta (Zeiler 2012, algorithm 1), each array gone through once.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel.hpp"

namespace facetools {

struct AdaDelta {
  float rate, decay, epsilon, weight_decay;
};

// `size` parameters and their gradients, and the decaying means of the squares of gradients and of steps.
struct Learned {
  float* parameters;
  const float* gradients;
  float *squares, *steps;
  std::size_t size;
};

void adadelta(const std::vector<Learned>& all, const AdaDelta& by, int threads, Progress& progress);

}  // namespace facetools
