// AArch64 with the dot product extension: most ARM processors since 2018.
#if defined(__aarch64__) && defined(__linux__)
#include <arm_neon.h>

#include "isa.inl"

#ifdef P2PINFER_HAS_NEON_DOT
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace p2pinfer {
namespace {
#include "../lanes/neon.inl"
#include "../kernels/kernels.inl"
}  // namespace
const Kernels kNeonDotKernels{kUnsignedWeights, matmul, quantize, normalize, prepare_head, attend};
}  // namespace p2pinfer

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
#endif
