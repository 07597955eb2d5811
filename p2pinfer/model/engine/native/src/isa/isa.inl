// The first include of every instruction set's file. Functions of one instruction set live in a namespace of
// their own and use no templates of the standard library: the linker keeps any one copy of a shared inline
// function, and that copy might need instructions that this processor lacks.
#include "../kernels/kernels.hpp"

#define P2P_INLINE static inline __attribute__((always_inline))
// For loops over a tile's rows and blocks. Unrolled, their arrays live in registers.
#ifndef P2P_UNROLL
#define P2P_UNROLL _Pragma("GCC unroll 16")
#endif

namespace p2pinfer {
namespace {
constexpr float kShifter = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
constexpr int32_t kShifterBits = 0x4b400000;
}  // namespace
}  // namespace p2pinfer
