#include "process/watchdog.hpp"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

namespace facetools {

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// Batch systems may send one request twice, for example to torchrun, which passes it on, and to its processes.
constexpr Seconds repeat_after{1};

// How often the watchdog looks for changed endings while a signal is pending.
constexpr int poll_milliseconds = 50;

struct State {
  std::mutex mutex;
  bool is_started = false;
  Endings endings;
  std::set<std::string> temporary_files;
  std::condition_variable handed_over;
  int handed_over_signal = 0;
};

// Never destroyed, because the thread outlives static objects.
State& state() {
  static State& instance = *new State;
  return instance;
}

std::optional<Ending> find_ending(int number) {
  const std::lock_guard lock(state().mutex);
  const auto found = state().endings.find(number);
  return found == state().endings.end() ? std::nullopt : std::optional(found->second);
}

[[noreturn]] void end_process(int number, int status) {
  {
    const std::lock_guard lock(state().mutex);
    for (const std::string& path : state().temporary_files) unlink(path.c_str());
  }
  if (status > 0) _exit(status);
  signal(number, SIG_DFL);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, number);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  raise(number);
  _exit(128 + number);
}

// The number of the next signal; 0 if there is none within `milliseconds` (-1: wait forever), -1 without a descriptor.
int read_signal(int descriptor, int milliseconds) {
  pollfd request{descriptor, POLLIN, 0};
  const int ready = poll(&request, 1, milliseconds);
  if (ready == 0 || (ready < 0 && errno == EINTR)) return 0;
  unsigned char number = 0;
  return ready > 0 && read(descriptor, &number, 1) == 1 ? number : -1;
}

void hand_over(int number) {
  {
    const std::lock_guard lock(state().mutex);
    state().handed_over_signal = number;
  }
  state().handed_over.notify_all();
}

void watch(int descriptor) {
  int pending = 0;  // the first signal that ends the process
  bool is_handed_over = false;
  Clock::time_point received;
  for (;;) {
    const int number = read_signal(descriptor, pending ? poll_milliseconds : -1);
    if (number < 0) return;
    if (number > 0) {
      const auto ending = find_ending(number);
      if (!ending) continue;
      if (!pending) {
        pending = number;
        received = Clock::now();
      } else if (Clock::now() - received >= repeat_after) {
        end_process(number, ending->status);
      }
    }
    if (!pending || is_handed_over) continue;
    const auto ending = find_ending(pending);  // it may have changed
    if (!ending || Clock::now() - received < Seconds(ending->grace)) continue;
    if (!ending->hands_over) end_process(pending, ending->status);
    hand_over(pending);
    is_handed_over = true;
  }
}

}  // namespace

void start_watchdog(int descriptor, Endings endings) {
  {
    const std::lock_guard lock(state().mutex);
    if (state().is_started) throw std::invalid_argument("the watchdog is already running");
    state().is_started = true;
    state().endings = std::move(endings);
  }
  // It must not run signal handlers, so that signals interrupt the main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(watch, descriptor).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void set_endings(Endings endings) {
  const std::lock_guard lock(state().mutex);
  state().endings = std::move(endings);
}

int wait_for_handover() {
  std::unique_lock lock(state().mutex);
  state().handed_over.wait(lock, [] { return state().handed_over_signal != 0; });
  return std::exchange(state().handed_over_signal, 0);
}

void add_temporary_file(const std::string& path) {
  const std::lock_guard lock(state().mutex);
  state().temporary_files.insert(path);
}

void remove_temporary_file(const std::string& path) {
  const std::lock_guard lock(state().mutex);
  state().temporary_files.erase(path);
}

}  // namespace facetools
