// One direction of an access link: the time at which a packet leaves it, and the packets under way.

#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>

#include "chance.hpp"
#include "clock.hpp"
#include "packets.hpp"

// TCP fills a link whose buffer holds a round trip; 100 ms covers every profile. Slow links need some whole
// packets anyway, and fast ones no more than TCP has in flight.
constexpr double kBufferSeconds = 0.1;
constexpr double kMinBufferBytes = 64 << 10;
constexpr double kMaxBufferBytes = 4 << 20;

struct Host;

struct InFlight {
    Nanoseconds leaves_at;
    std::unique_ptr<Packet> packet;
    Host* destination;
};

struct Counters {
    uint64_t packets = 0, bytes = 0, lost = 0, overflowed = 0, cut = 0, unroutable = 0;
};

struct LinkSettings {
    Nanoseconds delay = 0, jitter = 0;
    double bits_per_second = 1, loss = 0;
};

// One direction of one host's access link.
class Pipe {
  public:
    Pipe(Host* owner, bool is_up, uint64_t stream)
        : owner(owner), is_up(is_up), loss_stream_(mix(stream)), jitter_stream_(mix(loss_stream_)) {}

    void shape(const LinkSettings& settings) { settings_ = settings; }

    // The time at which a packet that arrives at `at` leaves the link; negative if the link drops it.
    Nanoseconds pass(size_t bytes, Nanoseconds at) {
        if (cut) return counters.cut++, -1;
        const double bytes_per_ns = settings_.bits_per_second / 8 / kSecond;
        const double backlog = at < idle_at_ ? static_cast<double>(idle_at_ - at) * bytes_per_ns : 0;
        const double buffer = std::clamp(kBufferSeconds * settings_.bits_per_second / 8, kMinBufferBytes,
                                         kMaxBufferBytes);
        if (backlog + static_cast<double>(bytes) > buffer) return counters.overflowed++, -1;
        idle_at_ = std::max(at, idle_at_) +
                   static_cast<Nanoseconds>(static_cast<double>(bytes) / bytes_per_ns + 0.5);
        if (uniform(loss_stream_, draws_++) < settings_.loss) return counters.lost++, -1;
        last_exit_ = std::max(last_exit_, idle_at_ + settings_.delay + jitter_at(idle_at_));
        return last_exit_;
    }

    Host* const owner;
    const bool is_up;
    bool cut = false;
    Counters counters;
    std::deque<InFlight> in_flight;  // in the order of leaves_at

  private:
    // A random walk between -jitter and +jitter, linear between points. It falls by at most half a second per
    // second, so a later packet never overtakes an earlier one, and the worst draw of a burst doesn't delay the whole burst.
    Nanoseconds jitter_at(Nanoseconds at) const {
        if (settings_.jitter == 0) return 0;
        const Nanoseconds period = 4 * settings_.jitter;
        const auto point = static_cast<uint64_t>(at / period);
        const double part = static_cast<double>(at % period) / static_cast<double>(period);
        const double before = uniform(jitter_stream_, point), after = uniform(jitter_stream_, point + 1);
        const double height = 2 * (before + (after - before) * part) - 1;
        return static_cast<Nanoseconds>(height * static_cast<double>(settings_.jitter));
    }

    LinkSettings settings_;
    Nanoseconds idle_at_ = 0, last_exit_ = 0;
    uint64_t draws_ = 0;
    const uint64_t loss_stream_, jitter_stream_;
};
