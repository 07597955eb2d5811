// Moves packets: from the sender's pipe up, through the receiver's pipe down, to the receiver's device.

#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <utility>
#include <vector>

#include <unistd.h>

#include "clock.hpp"
#include "host.hpp"
#include "packets.hpp"
#include "pipe.hpp"

class Wires {
  public:
    PacketPool pool;

    // The down link of some host may have as little delay as this.
    void expect_down_delay(Nanoseconds least) { least_down_delay_ = std::min(least_down_delay_, least); }

    void send(Pipe& pipe, std::unique_ptr<Packet> packet, Host* destination, Nanoseconds at) {
        const Nanoseconds leaves_at = pipe.pass(packet->size, at);
        if (leaves_at < 0) return pool.give(std::move(packet));
        if (pipe.in_flight.empty()) heads(pipe).push({leaves_at, order_++, &pipe});
        pipe.in_flight.push_back({leaves_at, std::move(packet), destination});
    }

    void deliver_until(Nanoseconds time) {
        leave_until(time, up_heads_);
        leave_until(time, down_heads_);
    }

    // The time of the next work. No host sees a packet move from an up link to a down link, so this move may
    // wait until the packet can be through the down link as well: one wake-up for both.
    Nanoseconds next_due() const {
        const Nanoseconds down = down_heads_.empty() ? kForever : down_heads_.top().leaves_at;
        return up_heads_.empty() ? down : std::min(down, up_heads_.top().leaves_at + least_down_delay_);
    }

  private:
    struct Head {
        Nanoseconds leaves_at;
        uint64_t order;  // of two packets that leave together, the one that came first
        Pipe* pipe;
        bool operator>(const Head& other) const {
            return leaves_at != other.leaves_at ? leaves_at > other.leaves_at : order > other.order;
        }
    };

    using Heads = std::priority_queue<Head, std::vector<Head>, std::greater<>>;

    Heads& heads(const Pipe& pipe) { return pipe.is_up ? up_heads_ : down_heads_; }

    void leave_until(Nanoseconds time, Heads& heads) {
        while (!heads.empty() && heads.top().leaves_at <= time) {
            Pipe& pipe = *heads.top().pipe;
            heads.pop();
            InFlight leaving = std::move(pipe.in_flight.front());
            pipe.in_flight.pop_front();
            if (!pipe.in_flight.empty()) heads.push({pipe.in_flight.front().leaves_at, order_++, &pipe});
            leave(pipe, std::move(leaving));
        }
    }

    void leave(Pipe& pipe, InFlight leaving) {
        if (pipe.cut) {  // a cut also drops the packets that are under way
            pipe.counters.cut++;
            return pool.give(std::move(leaving.packet));
        }
        pipe.counters.packets++;
        pipe.counters.bytes += leaving.packet->size;
        if (pipe.is_up) {
            Pipe& down = leaving.destination->down;
            return send(down, std::move(leaving.packet), leaving.destination, leaving.leaves_at);
        }
        // A write fails when the device was shut from inside; its host notices that without the router.
        if (write(pipe.owner->tun, leaving.packet->bytes, leaving.packet->size) < 0) pipe.counters.unroutable++;
        pool.give(std::move(leaving.packet));
    }

    uint64_t order_ = 0;
    Heads up_heads_, down_heads_;  // one for each pipe in use
    Nanoseconds least_down_delay_ = kForever;
};
