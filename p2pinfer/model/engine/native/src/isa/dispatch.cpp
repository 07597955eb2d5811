// The instruction sets that this build and this processor have.
#include "../kernels/kernels.hpp"

#ifdef P2PINFER_HAS_NEON_DOT
#include <sys/auxv.h>
#endif

namespace p2pinfer {

const Kernels* kernels_for(int isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();  // some runtime libraries need this call
#endif
  switch (isa) {
    case kPortable: return &kPortableKernels;
#if defined(__x86_64__)
    case kAvx2:
      if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &kAvx2Kernels;
      break;
    case kAvx512Vnni:
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
          __builtin_cpu_supports("avx512vnni"))
        return &kAvx512VnniKernels;
      break;
#ifdef P2PINFER_HAS_AVXVNNI
    case kAvxVnni:
#ifdef P2PINFER_AVXVNNI_BY_AVX512
      if (kernels_for(kAvx512Vnni)) return &kAvxVnniKernels;
#else
      if (__builtin_cpu_supports("avxvnni") && kernels_for(kAvx2)) return &kAvxVnniKernels;
#endif
      break;
#endif
#endif
#ifdef P2PINFER_HAS_NEON_DOT
    case kNeonDot: {
      constexpr unsigned long kHwcapAsimdDot = 1ul << 20;  // HWCAP_ASIMDDP of the Linux ABI
      if (getauxval(AT_HWCAP) & kHwcapAsimdDot) return &kNeonDotKernels;
      break;
    }
#endif
    default: break;
  }
  return nullptr;
}

int best_isa() {
  constexpr int kFastestFirst[] = {kNeonDot, kAvx512Vnni, kAvxVnni, kAvx2};
  for (int isa : kFastestFirst)
    if (kernels_for(isa)) return isa;
  return kPortable;
}

}  // namespace p2pinfer
