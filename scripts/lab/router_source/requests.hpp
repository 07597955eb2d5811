// What the lab asks of the router, and the answers.
//
// A request is one message on the control socket:
//
//   host INDEX LINK         with two descriptors: the host's TUN device and its network namespace
//   shape INDEX LINK        LINK is: delay_ns jitter_ns up_bits_per_second down_bits_per_second loss
//   cut INDEX up|down|both
//   heal INDEX up|down|both
//   counters
//
// The answer is `ok`, followed by lines for `counters`, or `error` and a reason.

#pragma once

#include <cstdint>
#include <memory>
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
    Requests(Hosts& hosts, Wires& wires, uint64_t seed) : hosts_(hosts), wires_(wires), seed_(seed) {}

    // `tun` and `network` are the descriptors that came with the request, or -1.
    std::string carry_out(const std::string& request, int tun, int network) {
        std::istringstream words(request);
        std::string verb;
        int index = 0;
        words >> verb;
        if (verb == "counters") return describe_counters();
        words >> index;
        if (verb == "host") return add_host(words, index, tun, network);
        const auto found = hosts_.find(index);
        if (found == hosts_.end()) return "error no host with this index";
        Host& host = *found->second;
        if (verb == "shape") return shape(words, host) ? "ok" : "error not a link";
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
        hosts_.emplace(index, std::move(host));
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
    Wires& wires_;
    const uint64_t seed_;
};
