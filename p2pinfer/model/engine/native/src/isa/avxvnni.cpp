// AVX2 with the 256-bit VNNI instruction: Alder Lake and later without AVX-512, Zen 5.
#if defined(__x86_64__)
#include <immintrin.h>

#include "isa.inl"

#ifdef P2PINFER_HAS_AVXVNNI
// P2PINFER_AVXVNNI_BY_AVX512 (GCC only) is for tests on a processor that has the same instruction only in
// its AVX-512 encoding.
#if defined(P2PINFER_AVXVNNI_BY_AVX512)
#define P2P_DPBUSD _mm256_dpbusd_epi32
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512vnni")
#else
#define P2P_DPBUSD _mm256_dpbusd_avx_epi32
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avxvnni"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avxvnni")
#endif
#endif

namespace p2pinfer {
namespace {
#include "../lanes/avx2.inl"
#include "../kernels/kernels.inl"
}  // namespace
const Kernels kAvxVnniKernels{kUnsignedWeights, matmul, quantize, normalize, prepare_head, attend};
}  // namespace p2pinfer

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
#endif
