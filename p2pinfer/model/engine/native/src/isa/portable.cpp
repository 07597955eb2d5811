// Plain C++, for any processor. It is slow on x86 without FMA, where every fma is a library call, and never
// chosen where AVX2 is present. On other processors compilers turn the lanes into vectors.
#define P2P_UNROLL  // lanes are loops here; unrolling around them only makes compiling slow
#include "isa.inl"

namespace p2pinfer {
namespace {
#include "../lanes/portable.inl"
#include "../kernels/kernels.inl"
}  // namespace
const Kernels kPortableKernels{kUnsignedWeights, matmul, quantize, normalize, prepare_head, attend};
}  // namespace p2pinfer
