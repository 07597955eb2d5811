// What the lab asks of the router, and the answers.
//
// A request is one message on the control socket:
//
//   host INDEX LINK         with two descriptors: the host's TUN device and its network namespace
//   network                 with one descriptor: a namespace without a device of this router, to be swept, too
//   number INDEX NUMBER     the last two bytes of the host's IPv4 address, from now on
//   shape INDEX LINK        LINK is: delay_ns jitter_ns up_bits_per_second down_bits_per_second loss
//   cut INDEX up|down|both
//   heal INDEX up|down|both
//   counters
//
// The answer is `ok`, followed by lines for `counters`, or `error` and a reason.

#pragma once

#include <cstdint>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include "chance.hpp"
#include "host.hpp"
#include "pipe.hpp"
#include "wires.hpp"

class Requests {
  public:
    Requests(Hosts& hosts, Numbers& numbers, Wires& wires, uint64_t seed)
        : hosts_(hosts), numbers_(numbers), wires_(wires), seed_(seed) {}

    // The namespaces of `network` requests. They stay open: nothing else keeps their numbers from being used again.
    const std::set<ino_t>& other_networks() const { return other_networks_; }

    // `first` and `second` are the descriptors that came with the request, or -1.
    std::string carry_out(const std::string& request, int first, int second) {
        std::istringstream words(request);
        std::string verb;
        int index = 0;
        words >> verb;
        if (verb == "counters") return describe_counters();
        if (verb == "network") return add_network(first);
        words >> index;
        if (verb == "host") return add_host(words, index, first, second);
        const auto found = hosts_.find(index);
        if (found == hosts_.end()) return "error no host with this index";
        Host& host = *found->second;
        if (verb == "shape") return shape(words, host) ? "ok" : "error not a link";
        if (verb == "number") return give_number(words, host);
        if (verb != "cut" && verb != "heal") return "error unknown request";
        std::string direction;
        words >> direction;
        if (direction != "up" && direction != "down" && direction != "both") return "error unknown direction";
        if (direction != "down") host.up.cut = verb == "cut";
        if (direction != "up") host.down.cut = verb == "cut";
        return "ok";
    }

  private:
    std::string add_host(std::istringstream& words, int index, int tun, int network) {
        struct stat status {};
        if (tun < 0 || network < 0 || fstat(network, &status) != 0) return "error two descriptors belong to a host";
        close(network);
        auto host = std::make_unique<Host>(tun, status.st_ino, mix(seed_) ^ static_cast<uint64_t>(index));
        if (hosts_.count(index) != 0 || !shape(words, *host)) {
            close(tun);
            return "error not a new host with a link";
        }
        numbers_[index] = host.get();
        hosts_.emplace(index, std::move(host));
        return "ok";
    }

    std::string add_network(int network) {
        struct stat status {};
        if (network < 0 || fstat(network, &status) != 0) return "error a descriptor belongs to a network";
        other_networks_.insert(status.st_ino);
        return "ok";
    }

    std::string give_number(std::istringstream& words, Host& host) {
        int number = -1;
        words >> number;
        if (number < 0 || number > 0xffff || numbers_.count(number) != 0) return "error not a free number";
        for (auto old = numbers_.begin(); old != numbers_.end();) {
            old = old->second == &host ? numbers_.erase(old) : std::next(old);
        }
        numbers_[number] = &host;
        return "ok";
    }

    bool shape(std::istringstream& words, Host& host) {
        LinkSettings up, down;
        words >> up.delay >> up.jitter >> up.bits_per_second >> down.bits_per_second >> up.loss;
        if (words.fail() || up.delay < up.jitter || up.jitter < 0) return false;
        if (!(up.bits_per_second > 0 && down.bits_per_second > 0 && up.loss >= 0 && up.loss <= 1)) return false;
        down.delay = up.delay;
        down.jitter = up.jitter;
        down.loss = up.loss;
        host.up.shape(up);
        host.down.shape(down);
        wires_.expect_down_delay(down.delay - down.jitter);
        return true;
    }

    std::string describe_counters() const {
        std::ostringstream text;
        text << "ok";
        for (const auto& [index, host] : hosts_) {
            for (const Pipe* pipe : {&host->up, &host->down}) {
                const Counters& counted = pipe->counters;
                text << '\n'
                     << index << (pipe->is_up ? " up " : " down ") << counted.packets << ' ' << counted.bytes
                     << ' ' << counted.lost << ' ' << counted.overflowed << ' ' << counted.cut << ' '
                     << counted.unroutable;
            }
        }
        return text.str();
    }

    Hosts& hosts_;
    Numbers& numbers_;
    Wires& wires_;
    const uint64_t seed_;
    std::set<ino_t> other_networks_;
};
