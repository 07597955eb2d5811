#include "team.hpp"

#include <cfenv>
#include <chrono>
#include <exception>
#include <new>

namespace p2pinfer {
namespace {

// Members usually finish a phase within microseconds of each other. A member that takes longer was probably
// descheduled, and needs the core more than the waiting one.
constexpr int kPhaseSpinMicroseconds = 20;
constexpr int kIdleSpinMicroseconds = 5;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

template <class Ready>
bool Bell::spin(Ready& ready, int microseconds) {
  using Clock = std::chrono::steady_clock;
  if (ready()) return true;
  const auto until = Clock::now() + std::chrono::microseconds(microseconds);
  do {
    for (int i = 0; i < 16; ++i) {
      pause();
      if (ready()) return true;
    }
  } while (Clock::now() < until);
  return false;
}

void Team::Member::finish_previous() {
  if (team_ == nullptr || previous_ == nullptr) return;
  team_->phase_done_.wait([this] { return previous_->done.load() == previous_items_; }, kPhaseSpinMicroseconds);
}

Team::Team(int threads) {
  try {
    for (int index = 1; index < threads; ++index) workers_.emplace_back(&Team::work, this, index);
  } catch (const std::exception&) {  // no more threads, or no memory for their stacks
    dismiss();
    throw std::bad_alloc();
  }
}

Team::~Team() { dismiss(); }

void Team::dismiss() {
  stopping_ = true;
  started_.ring();
  for (std::thread& worker : workers_) worker.join();
}

void Team::open(int phases, Call call, void* context) {
  if (phases > phase_capacity_) {
    phases_.reset(new Phase[static_cast<size_t>(phases)]);
    phase_capacity_ = phases;
  } else {
    for (int i = 0; i < phases; ++i) {
      for (std::atomic<int>& taken : phases_[i].taken) taken.store(0, std::memory_order_relaxed);
      phases_[i].done.store(0, std::memory_order_relaxed);
    }
  }
  call_ = call;
  context_ = context;
  inside_.fetch_add(1);
  run_number_.fetch_add(1);
  started_.ring();
}

void Team::close() {
  inside_.fetch_sub(1);
  left_.wait([this] { return inside_.load() == 0; }, kPhaseSpinMicroseconds);
}

void Team::work(int index) {
  uint32_t seen = 0;
  for (;;) {
    started_.wait([&] { return stopping_.load() || run_number_.load() != seen; }, kIdleSpinMicroseconds);
    if (stopping_.load()) return;
    seen = run_number_.load();
    int inside = inside_.load();
    while ((inside & 1) && !inside_.compare_exchange_weak(inside, inside + 2)) {
    }
    if (!(inside & 1)) continue;  // woke too late: the run is over
    Member member(this, index);
    call_(context_, member);
    inside_.fetch_sub(2);
    left_.ring();
  }
}

}  // namespace p2pinfer
