// Sixteen lanes as one AVX-512 register. isa/avx512vnni.cpp includes it inside its namespace.

struct F { __m512 v; };
struct I { __m512i v; };
struct Weights { __m512i v; };
struct Inputs { __m512i v; };

constexpr bool kUnsignedWeights = true;
constexpr int kRowTile = 6;
constexpr int kSingleRowBlocks = 4;

P2P_INLINE F zero() { return {_mm512_setzero_ps()}; }
P2P_INLINE F set(float x) { return {_mm512_set1_ps(x)}; }
P2P_INLINE F load(const float* p) { return {_mm512_loadu_ps(p)}; }
P2P_INLINE void store(float* p, F a) { _mm512_storeu_ps(p, a.v); }
P2P_INLINE F add(F a, F b) { return {_mm512_add_ps(a.v, b.v)}; }
P2P_INLINE F sub(F a, F b) { return {_mm512_sub_ps(a.v, b.v)}; }
P2P_INLINE F mul(F a, F b) { return {_mm512_mul_ps(a.v, b.v)}; }
P2P_INLINE F div(F a, F b) { return {_mm512_div_ps(a.v, b.v)}; }
P2P_INLINE F fma(F a, F b, F c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
P2P_INLINE F min(F a, F b) { return {_mm512_min_ps(a.v, b.v)}; }
P2P_INLINE F max(F a, F b) { return {_mm512_max_ps(a.v, b.v)}; }
P2P_INLINE F absolute(F a) { return {_mm512_abs_ps(a.v)}; }

// Lane i without bit H: a[i] + a[i ^ H]; with it: a[i ^ H] - a[i].
template <int H>
P2P_INLINE F butterfly(F a) {
  __m512 swapped, signs;
  if constexpr (H == 8) swapped = _mm512_shuffle_f32x4(a.v, a.v, 0x4e);
  if constexpr (H == 4) swapped = _mm512_shuffle_f32x4(a.v, a.v, 0xb1);
  if constexpr (H == 2) swapped = _mm512_permute_ps(a.v, 0x4e);
  if constexpr (H == 1) swapped = _mm512_permute_ps(a.v, 0xb1);
  constexpr __mmask16 with_bit = H == 8 ? 0xff00 : H == 4 ? 0xf0f0 : H == 2 ? 0xcccc : 0xaaaa;
  signs = _mm512_mask_blend_ps(with_bit, _mm512_set1_ps(1.0f), _mm512_set1_ps(-1.0f));
  return {_mm512_fmadd_ps(a.v, signs, swapped)};
}

// Lanes [first, end) of a; `other` elsewhere.
P2P_INLINE F keep(F a, int first, int end, F other) {
  const unsigned from = first <= 0 ? 0xffffu : first >= kLanes ? 0u : 0xffffu << first;
  const unsigned to = end >= kLanes ? 0xffffu : end <= 0 ? 0u : 0xffffu >> (kLanes - end);
  return {_mm512_mask_mov_ps(other.v, static_cast<__mmask16>(from & to), a.v)};
}

// a * 2^n, where shifter = n + 1.5 * 2^23 and the result is a normal number.
P2P_INLINE F scale_by_power(F a, F shifter) {
  const __m512i n = _mm512_sub_epi32(_mm512_castps_si512(shifter.v), _mm512_set1_epi32(kShifterBits));
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_slli_epi32(n, 23)))};
}

P2P_INLINE float sum(F a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
P2P_INLINE float largest(F a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

P2P_INLINE I set_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
P2P_INLINE F to_float(I a) { return {_mm512_cvtepi32_ps(a.v)}; }

// Stores four registers as 64 bytes, rounded half to even. Numbers lie within -127.5 and 127.5; NaN becomes
// -127. Returns the sum of the bytes.
P2P_INLINE int32_t store_rounded(int8_t* p, const F (&a)[4]) {
  const __m512i first = _mm512_packs_epi32(_mm512_cvtps_epi32(a[0].v), _mm512_cvtps_epi32(a[1].v));
  const __m512i second = _mm512_packs_epi32(_mm512_cvtps_epi32(a[2].v), _mm512_cvtps_epi32(a[3].v));
  const __m512i bytes = _mm512_max_epi8(_mm512_packs_epi16(first, second), _mm512_set1_epi8(-127));
  // packs works within 128-bit quarters; the permutation restores the order of bytes.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, bytes));
  return _mm512_reduce_add_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), bytes));
}

P2P_INLINE Weights load_weights(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
P2P_INLINE Inputs broadcast_inputs(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return {_mm512_set1_epi32(four)};
}
P2P_INLINE I dot(I sums, Weights w, Inputs x) { return {_mm512_dpbusd_epi32(sums.v, w.v, x.v)}; }
