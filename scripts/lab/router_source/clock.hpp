// Time on the monotonic clock.

#pragma once

#include <cstdint>
#include <ctime>

using Nanoseconds = int64_t;

constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr Nanoseconds kForever = INT64_MAX;

inline Nanoseconds now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * kSecond + time.tv_nsec;
}
