// Random numbers that a seed and an index decide.

#pragma once

#include <cstdint>

// splitmix64, by Sebastiano Vigna: a good hash of consecutive numbers.
inline uint64_t mix(uint64_t value) {
    value += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

// The draw number `index` of a stream, in [0, 1).
inline double uniform(uint64_t stream, uint64_t index) {
    return static_cast<double>(mix(stream ^ mix(index)) >> 11) * 0x1p-53;
}
