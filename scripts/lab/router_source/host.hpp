// A host of the lab: its TUN device, its network namespace, and its access link.

#pragma once

#include <map>
#include <memory>

#include <sys/stat.h>

#include "chance.hpp"
#include "pipe.hpp"

struct Host {
    Host(int tun, ino_t network, uint64_t stream)
        : tun(tun), network(network), up(this, true, mix(stream)), down(this, false, mix(~stream)) {}

    int tun;
    const ino_t network;
    Pipe up, down;
};

// Hosts by their index. Their IPv6 addresses have it, too.
using Hosts = std::map<int, std::unique_ptr<Host>>;

// Hosts by the last two bytes of their IPv4 addresses: the index, until a host gets another address.
using Numbers = std::map<int, Host*>;
