// The router's loop: waits for packets, requests, and packets that are due.

#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.hpp"
#include "host.hpp"
#include "packets.hpp"
#include "requests.hpp"
#include "sweep.hpp"
#include "wires.hpp"

constexpr uint8_t kNetwork[2] = {11, 77};  // then two bytes with the host's number
constexpr uint8_t kNetwork6[6] = {0x2a, 0x0d, 0x00, 0x77, 0, 0};  // then two bytes with the host's index
constexpr int kReadsPerTurn = 64;  // then other hosts and due packets get their turn
// A processor that slept for milliseconds wakes 0.15 ms late (measured in a virtual machine), after a short
// sleep 0.03 to 0.05 ms late. So the router wakes early from long sleeps, and sleeps again.
constexpr Nanoseconds kLongSleep = 1'000'000, kEarly = 200'000;
constexpr size_t kControlMessageBytes = 4096;

class Router {
  public:
    Router(int control, uint64_t seed) : control_(control), requests_(hosts_, numbers_, wires_, seed), started_(now()) {}

    // Returns when the lab is gone.
    void serve() {
        const int parent = static_cast<int>(syscall(SYS_pidfd_open, lab_, 0));
        for (;;) {
            wires_.deliver_until(clock());
            polled_.clear();
            polled_.push_back({control_, POLLIN, 0});
            polled_.push_back({parent, POLLIN, 0});  // poll passes over a descriptor of -1
            for (const auto& [index, host] : hosts_) polled_.push_back({host->tun, POLLIN, 0});
            timespec wait{};
            const Nanoseconds due_at = wires_.next_due();
            if (due_at != kForever) {
                Nanoseconds left = std::max<Nanoseconds>(0, due_at - clock());
                if (left > kLongSleep) left -= kEarly;
                wait = {static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
            }
            const timespec* limit = due_at == kForever ? nullptr : &wait;
            if (ppoll(polled_.data(), polled_.size(), limit, nullptr) < 0) continue;
            size_t position = 2;
            for (auto& [index, host] : hosts_) {
                if (polled_[position++].revents != 0) read_from(*host);
            }
            if (polled_[1].revents != 0 || (polled_[0].revents != 0 && !answer_request())) break;
        }
        std::set<ino_t> networks = requests_.other_networks();
        for (const auto& [index, host] : hosts_) networks.insert(host->network);
        sweep(networks, lab_);
    }

  private:
    Nanoseconds clock() const { return now() - started_; }

    void read_from(Host& host) {
        for (int count = 0; count < kReadsPerTurn; ++count) {
            auto packet = wires_.pool.take();
            const ssize_t size = read(host.tun, packet->bytes, kMaxPacketBytes);
            if (size < 0) {
                wires_.pool.give(std::move(packet));
                if (errno != EAGAIN && errno != EINTR) host.tun = -1;  // the device is gone
                return;
            }
            packet->size = static_cast<size_t>(size);
            Host* destination = find_destination(*packet);
            if (destination == nullptr) {
                host.up.counters.unroutable++;
                wires_.pool.give(std::move(packet));
            } else {
                wires_.send(host.up, std::move(packet), destination, clock());
            }
        }
    }

    Host* find_destination(const Packet& packet) const {
        const int version = packet.size > 0 ? packet.bytes[0] >> 4 : 0;
        if (version == 4 && packet.size >= 20) {
            const uint8_t* address = packet.bytes + 16;
            if (!std::equal(kNetwork, kNetwork + 2, address)) return nullptr;
            const auto found = numbers_.find(address[2] << 8 | address[3]);
            return found == numbers_.end() ? nullptr : found->second;
        }
        if (version == 6 && packet.size >= 40) {
            const uint8_t* address = packet.bytes + 24;
            if (!std::equal(kNetwork6, kNetwork6 + 6, address)) return nullptr;
            const auto found = hosts_.find(address[6] << 8 | address[7]);
            return found == hosts_.end() ? nullptr : found->second.get();
        }
        return nullptr;
    }

    // False when the lab has closed its end.
    bool answer_request() {
        char text[kControlMessageBytes];
        alignas(cmsghdr) char ancillary[CMSG_SPACE(2 * sizeof(int))];
        iovec part{text, sizeof text};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = ancillary;
        message.msg_controllen = sizeof ancillary;
        const ssize_t size = recvmsg(control_, &message, MSG_CMSG_CLOEXEC);
        if (size < 0 && errno == EINTR) return true;
        if (size <= 0) return false;
        int received[2] = {-1, -1};
        const cmsghdr* header = CMSG_FIRSTHDR(&message);
        if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
            std::memcpy(received, CMSG_DATA(header),
                        std::min<size_t>(header->cmsg_len - CMSG_LEN(0), sizeof received));
        }
        wires_.deliver_until(clock());  // a request doesn't touch packets that left before it came
        const std::string request(text, static_cast<size_t>(size));
        const std::string reply = requests_.carry_out(request, received[0], received[1]);
        return send(control_, reply.data(), reply.size(), MSG_NOSIGNAL) >= 0;
    }

    const int control_;
    const pid_t lab_ = getppid();
    Hosts hosts_;
    Numbers numbers_;
    Wires wires_;
    Requests requests_;
    const Nanoseconds started_;
    std::vector<pollfd> polled_;
};
