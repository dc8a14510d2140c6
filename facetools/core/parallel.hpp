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

// Calls own(), and meanwhile help() in `count` other threads; neither may throw. To start threads takes longer than
// many a task does, so they are kept, and awake for a moment.
void with_helpers(std::size_t count, const std::function<void()>& help, const std::function<void()>& own);

// Calls body(task) for each task below tasks, on that many threads, the calling one included. Each has a body of its
// own, by make_body(), with what it needs room for. The first exception stops the others and is thrown again here.
// Tasks should last well under a tenth of a second.
template <class MakeBody>
void parallel_for_by(int threads, std::size_t tasks, Progress& progress, const MakeBody& make_body) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex guard;
  const auto work = [&](bool calling) {
    try {
      std::size_t task = next.fetch_add(1);
      if (task >= tasks) return;
      for (auto body = make_body(); !stop && task < tasks; task = next.fetch_add(1)) {
        body(task);
        if (calling) progress(static_cast<double>(std::min(next.load(), tasks)) / static_cast<double>(tasks));
      }
    } catch (...) {
      const std::lock_guard lock(guard);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  };
  const std::size_t workers = std::min(static_cast<std::size_t>(std::max(threads, 1)), tasks);
  with_helpers(std::max<std::size_t>(workers, 1) - 1, [&] { work(false); }, [&] { work(true); });
  if (failure) std::rethrow_exception(failure);
}

// The same by one body for all threads.
template <class Body>
void parallel_for(int threads, std::size_t tasks, Progress& progress, const Body& body) {
  parallel_for_by(threads, tasks, progress, [&] { return std::cref(body); });
}

// The same over the ranges [begin, end) that cut 0..size into pieces of at most grain.
template <class MakeBody>
void parallel_ranges_by(int threads, std::size_t size, std::size_t grain, Progress& progress,
                        const MakeBody& make_body) {
  parallel_for_by(threads, (size + grain - 1) / grain, progress, [&] {
    return [=, body = make_body()](std::size_t task) mutable {
      body(task * grain, std::min(size, (task + 1) * grain));
    };
  });
}

template <class Body>
void parallel_ranges(int threads, std::size_t size, std::size_t grain, Progress& progress, const Body& body) {
  parallel_ranges_by(threads, size, grain, progress, [&] { return std::cref(body); });
}

}  // namespace facetools
