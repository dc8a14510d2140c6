// Sums of many floats, in double where it counts, that depend on no number of threads.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "aligned.hpp"

namespace facetools {

// Floats are added up over so many places, and then on in double.
inline constexpr std::size_t short_sum = 64;

// Sums in double of what is added up in float over `most` places at a time, or a few more.
class Sums {
 public:
  Sums(std::size_t size, std::size_t most) : partial(aligned<float>(size)), total_(size), most_(most) {}

  // `places` more of them are in the floats.
  void added(std::size_t places) {
    if ((places_ += places) >= most_) flush();
  }

  // All of them; it begins anew.
  std::vector<double> flushed() {
    flush();
    return std::exchange(total_, std::vector<double>(total_.size()));
  }

  Aligned<float> partial;

 private:
  void flush() {
    for (std::size_t i = 0; i < total_.size(); ++i) total_[i] += static_cast<double>(std::exchange(partial[i], 0.0F));
    places_ = 0;
  }

  std::vector<double> total_;
  std::size_t most_, places_ = 0;
};

inline std::vector<double> joined(std::vector<double> first, const std::vector<double>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// Adds up what ranges come to, in their order, whatever the threads.
inline std::vector<double> added_up(const std::vector<std::vector<double>>& of_ranges) {
  std::vector<double> all(of_ranges.front());
  for (std::size_t range = 1; range < of_ranges.size(); ++range)
    for (std::size_t i = 0; i < all.size(); ++i) all[i] += of_ranges[range][i];
  return all;
}

}  // namespace facetools
