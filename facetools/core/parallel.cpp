#include "parallel.hpp"

#include <unistd.h>

#include <memory>

namespace facetools {

namespace {

struct Helper {
  std::atomic<int> busy{0};
  const std::function<void()>* work = nullptr;

  void call(const std::function<void()>& what) {
    work = &what;
    busy.store(1, std::memory_order_release);
    busy.notify_one();
  }
  void wait() { await(0); }

  [[noreturn]] void serve() {
    for (;;) {
      await(1);
      (*work)();
      busy.store(0, std::memory_order_release);
      busy.notify_one();
    }
  }

 private:
  // Awake for a while, about as long as Python takes from one call to the next: to be woken takes longer than much of
  // what is done here.
  void await(int state) const {
    for (int turn = 0; turn < 200; ++turn) {
      if (busy.load(std::memory_order_acquire) == state) return;
      std::this_thread::yield();
    }
    busy.wait(1 - state, std::memory_order_acquire);
  }
};

// Threads of a process, as many as were ever wanted at once, that sleep between their calls.
class Crew {
 public:
  const pid_t process = getpid();
  std::atomic<bool> taken{false};

  void run(std::size_t count, const std::function<void()>& help, const std::function<void()>& own) {
    while (helpers_.size() < count) {
      auto helper = std::make_unique<Helper>();
      std::thread(&Helper::serve, helper.get()).detach();
      helpers_.push_back(std::move(helper));
    }
    for (std::size_t i = 0; i < count; ++i) helpers_[i]->call(help);
    own();
    for (std::size_t i = 0; i < count; ++i) helpers_[i]->wait();
  }

 private:
  std::vector<std::unique_ptr<Helper>> helpers_;
};

// Never destroyed, since its threads may sleep to the end of the process. A process that was forked has none of them.
Crew& crew() {
  static std::atomic<Crew*> own{new Crew};
  if (own.load()->process != getpid()) own = new Crew;
  return *own;
}

}  // namespace

void with_helpers(std::size_t count, const std::function<void()>& help, const std::function<void()>& own) {
  if (!count) return own();
  if (Crew& known = crew(); !known.taken.exchange(true)) {
    try {
      known.run(count, help, own);
    } catch (...) {
      known.taken = false;
      throw;
    }
    known.taken = false;
    return;
  }
  std::vector<std::jthread> others;  // while the crew works for another thread, or for what this one is a part of
  for (std::size_t i = 0; i < count; ++i) others.emplace_back(help);
  own();
}

}  // namespace facetools
