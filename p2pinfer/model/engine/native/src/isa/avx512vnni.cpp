// AVX-512 with VNNI: Ice Lake, Zen 4 and later servers and desktops.
#if defined(__x86_64__)
#include <immintrin.h>

#include "isa.inl"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma"))), \
                             apply_to = function)
#else
// GCC 12 warns about registers that its own headers leave undefined on purpose.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
#endif

namespace p2pinfer {
namespace {
#include "../lanes/avx512.inl"
#include "../kernels/kernels.inl"
}  // namespace
const Kernels kAvx512VnniKernels{kUnsignedWeights, matmul, quantize, normalize, prepare_head, attend};
}  // namespace p2pinfer

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
