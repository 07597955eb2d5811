// One IP packet, and the memory for many.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

constexpr size_t kMaxPacketBytes = 1500;  // the MTU that scripts/lab/namespaces.py sets

struct Packet {
    size_t size = 0;
    uint8_t bytes[kMaxPacketBytes];
};

// Unused packets. They are used again, because a fast link has tens of thousands of them per second.
class PacketPool {
  public:
    std::unique_ptr<Packet> take() {
        if (free_.empty()) return std::make_unique<Packet>();
        auto packet = std::move(free_.back());
        free_.pop_back();
        return packet;
    }
    void give(std::unique_ptr<Packet> packet) { free_.push_back(std::move(packet)); }

  private:
    std::vector<std::unique_ptr<Packet>> free_;
};
