// Plain C++, for any processor. Slow on x86 before FMA (every fma is then a library call), and never
// chosen there when AVX2 is present; elsewhere compilers turn the lanes into vectors by themselves.
#define P2P_UNROLL  // lanes are loops here: unrolling around them only makes the compiler slow
#include "isa.inl"

namespace p2pinfer {
namespace {
#include "../lanes/portable.inl"
#include "../kernels/kernels.inl"
}  // namespace
const Kernels kPortableKernels{kUnsignedWeights, matmul, quantize, normalize, prepare_head, attend};
}  // namespace p2pinfer
