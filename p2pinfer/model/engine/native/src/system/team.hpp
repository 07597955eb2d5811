// A few threads that share the phases of one computation.
//
// All members run through the same phases. In a phase a member begins with its own range of items, so that it
// reads memory that no other member reads, and then helps with the other ranges. So a member that the system
// delays or wakes late doesn't delay the others. A member enters a phase when all items of the previous phase
// are done. It waits by a short spin, then sleeps: several servers share one machine, and a spinning thread
// would take a core from the thread that it waits for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace p2pinfer {

// Threads sleep on it until a condition holds. Ringing costs one load if no thread sleeps.
class Bell {
 public:
  template <class Ready>
  void wait(Ready ready, int spin_microseconds) {
    if (spin(ready, spin_microseconds)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    while (!ready()) changed_.wait(lock);
    sleepers_.fetch_sub(1);
  }
  void ring() {
    if (sleepers_.load() == 0) return;
    { std::lock_guard<std::mutex> lock(mutex_); }
    changed_.notify_all();
  }

 private:
  template <class Ready>
  static bool spin(Ready& ready, int microseconds);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> sleepers_{0};
};

class Team {
  static constexpr int kRanges = 15;  // one cache line; further members share the first ranges
  struct alignas(64) Phase {
    std::atomic<int> done{0};
    std::atomic<int> taken[kRanges] = {};  // items taken from each range
  };

 public:
  class Member {
   public:
    int index() const { return index_; }

    // Runs `work(item)` for this member's items of the next phase. All members call share() with the same
    // sequence of counts. `work` must not throw.
    template <class Work>
    void share(int items, Work&& work) {
      if (team_ == nullptr) {
        for (int item = 0; item < items; ++item) work(item);
        return;
      }
      finish_previous();
      Phase& phase = team_->phases_[phase_++];
      const int ranges = team_->threads() < kRanges ? team_->threads() : kRanges;
      int mine = 0;
      for (int i = 0; i < ranges; ++i) {
        const int range = (index_ + i) % ranges;
        const int first = items * range / ranges, end = items * (range + 1) / ranges;
        for (int item; (item = first + phase.taken[range].fetch_add(1, std::memory_order_relaxed)) < end; ++mine)
          work(item);
      }
      if (mine > 0 && phase.done.fetch_add(mine) + mine == items) team_->phase_done_.ring();
      previous_ = &phase;
      previous_items_ = items;
    }

   private:
    friend class Team;
    Member(Team* team, int index) : team_(team), index_(index) {}
    void finish_previous();
    Team* team_;  // nullptr: the only member
    int index_;
    int phase_ = 0;
    Phase* previous_ = nullptr;
    int previous_items_ = 0;
  };

  explicit Team(int threads);  // throws std::bad_alloc
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(member) on this thread and on every worker that wakes in time. Returns when all phases are
  // done and no worker is inside. Several callers take turns. Throws std::bad_alloc.
  template <class Body>
  void run(int phases, Body&& body) {
    if (workers_.empty()) {
      Member alone(nullptr, 0);
      body(alone);
      return;
    }
    std::lock_guard<std::mutex> turn(turn_);
    open(phases, [](void* context, Member& member) { (*static_cast<std::remove_reference_t<Body>*>(context))(member); },
         &body);
    Member caller(this, 0);
    body(caller);
    caller.finish_previous();
    close();
  }

 private:
  using Call = void (*)(void*, Member&);
  void open(int phases, Call call, void* context);
  void close();
  void dismiss();
  void work(int index);

  std::vector<std::thread> workers_;
  std::unique_ptr<Phase[]> phases_;
  int phase_capacity_ = 0;
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::mutex turn_;
  std::atomic<int> inside_{0};         // twice the workers inside, plus one while open
  std::atomic<uint32_t> run_number_{0};
  std::atomic<bool> stopping_{false};
  Bell started_, phase_done_, left_;
};

}  // namespace p2pinfer
