// Loops over several threads, with progress reports from the calling thread.
//
// The core uses std::thread because PyTorch, FAISS and scikit-learn each bring an OpenMP runtime of their own. Each
// task writes only to its own output, so that no result depends on the number of threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace facetools {

// Reports the completed fraction of the work, from 0 to 1, at most ten times per second.
class Progress {
 public:
  // report: called with the fraction, or empty for none. An exception that it throws stops the work.
  explicit Progress(std::function<void(double)> report) : report_(std::move(report)) {}

  // fraction: of the current phase.
  void operator()(double fraction) {
    const auto now = std::chrono::steady_clock::now();
    if (!report_ || now - last_report_ < std::chrono::milliseconds(100)) return;
    last_report_ = now;
    report_(begin_ + fraction * (end_ - begin_));
  }

  // Starts a phase that covers the fractions begin to end of the whole work.
  void start_phase(double begin, double end) {
    begin_ = begin;
    end_ = end;
  }

 private:
  std::function<void(double)> report_;
  std::chrono::steady_clock::time_point last_report_ = std::chrono::steady_clock::now();
  double begin_ = 0, end_ = 1;
};

// Calls body(begin, end) for consecutive ranges of at most `grain` items that cover 0 to size, on `threads` threads
// including the calling one.
//
// The first exception stops all threads and is rethrown. A range should take well under a tenth of a second, so that
// progress reports come regularly.
template <class Body>
void parallel_ranges(int threads, std::size_t size, std::size_t grain, Progress& progress, const Body& body) {
  const std::size_t tasks = (size + grain - 1) / grain;
  std::atomic<std::size_t> next_task{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&](bool reports_progress) {
    try {
      for (std::size_t task = next_task.fetch_add(1); !stop && task < tasks; task = next_task.fetch_add(1)) {
        body(task * grain, std::min(size, (task + 1) * grain));
        if (reports_progress)
          progress(static_cast<double>(std::min(next_task.load(), tasks)) / static_cast<double>(tasks));
      }
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  };
  {
    std::vector<std::jthread> helpers;
    const std::size_t workers = std::min(static_cast<std::size_t>(std::max(threads, 1)), tasks);
    helpers.reserve(workers);
    try {
      for (std::size_t i = 1; i < workers; ++i) helpers.emplace_back(work, false);
    } catch (const std::system_error&) {
      // A limit on processes or memory allows no further thread: those that run do all the work.
    }
    work(true);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace facetools
