// AVX2 and FMA: any x86 desktop since about 2013.
#if defined(__x86_64__)
#include <immintrin.h>

#include "isa.inl"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

namespace p2pinfer {
namespace {
#include "../lanes/avx2.inl"
#include "../kernels/kernels.inl"
}  // namespace
const Kernels kAvx2Kernels{kUnsignedWeights, matmul, quantize, normalize, prepare_head, attend};
}  // namespace p2pinfer

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
