// Work split among threads, with progress told from the calling thread.
//
// A task writes only what is its own, so that no answer depends on the number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace facetools {

// Tells the share of the work done, ten times a second at most. The report may throw: the work is then abandoned.
class Progress {
 public:
  explicit Progress(std::function<void(double)> report) : report_(std::move(report)) {}

  void operator()(double share) {
    const auto now = std::chrono::steady_clock::now();
    if (!report_ || now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    report_(from_ + share * (to_ - from_));
  }

  // From now on, a share of 0 to 1 stands for from to to of the whole.
  void phase(double from, double to) {
    from_ = from;
    to_ = to;
  }

 private:
  std::function<void(double)> report_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  double from_ = 0, to_ = 1;
};

// Calls body(task) for each task in 0..tasks-1 on `threads` threads, the calling one included. The first exception stops
// the others and is rethrown here. Tasks should take well under a tenth of a second, so that progress stays smooth.
template <class Body>
void parallel_for(int threads, std::size_t tasks, Progress& progress, const Body& body) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex guard;
  const auto work = [&](bool calling) {
    try {
      for (std::size_t task = next.fetch_add(1); !stop && task < tasks; task = next.fetch_add(1)) {
        body(task);
        if (calling) progress(static_cast<double>(std::min(next.load(), tasks)) / static_cast<double>(tasks));
      }
    } catch (...) {
      const std::lock_guard lock(guard);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  };
  {
    std::vector<std::jthread> helpers;
    const std::size_t workers = std::min(static_cast<std::size_t>(std::max(threads, 1)), tasks);
    for (std::size_t i = 1; i < workers; ++i) helpers.emplace_back(work, false);
    work(true);
  }
  if (failure) std::rethrow_exception(failure);
}

// The same over the ranges [begin, end) that cut 0..size into pieces of at most grain.
template <class Body>
void parallel_ranges(int threads, std::size_t size, std::size_t grain, Progress& progress, const Body& body) {
  parallel_for(threads, (size + grain - 1) / grain, progress,
               [&](std::size_t task) { body(task * grain, std::min(size, (task + 1) * grain)); });
}

}  // namespace facetools
