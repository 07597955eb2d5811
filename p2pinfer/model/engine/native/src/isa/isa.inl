// What every isa_*.cpp includes first. Functions of one instruction set live in a namespace of their
// own and use nothing from the standard library's templates: the linker may keep any one copy of a
// shared inline function, and it must not be the one compiled for a processor we don't run on.
#include "../kernels/kernels.hpp"

#define P2P_INLINE static inline __attribute__((always_inline))
// Loops over a tile's rows and blocks, whose arrays live in registers once unrolled.
#ifndef P2P_UNROLL
#define P2P_UNROLL _Pragma("GCC unroll 16")
#endif

namespace p2pinfer {
namespace {
constexpr float kShifter = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
constexpr int32_t kShifterBits = 0x4b400000;
}  // namespace
}  // namespace p2pinfer
