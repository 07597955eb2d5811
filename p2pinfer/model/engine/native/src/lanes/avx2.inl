// Sixteen lanes as two AVX2 registers. isa/avx2.cpp includes it inside its namespace, and isa/avxvnni.cpp too,
// with the instruction's name in P2P_DPBUSD.

struct F { __m256 lo, hi; };
struct I { __m256i lo, hi; };
struct Weights { __m256i lo, hi; };

constexpr int kSingleRowBlocks = 2;

P2P_INLINE F zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
P2P_INLINE F set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
P2P_INLINE F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
P2P_INLINE void store(float* p, F a) { _mm256_storeu_ps(p, a.lo); _mm256_storeu_ps(p + 8, a.hi); }
P2P_INLINE F add(F a, F b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
P2P_INLINE F sub(F a, F b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
P2P_INLINE F mul(F a, F b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
P2P_INLINE F div(F a, F b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
P2P_INLINE F fma(F a, F b, F c) { return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)}; }
P2P_INLINE F min(F a, F b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
P2P_INLINE F max(F a, F b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
P2P_INLINE F absolute(F a) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(a.lo, magnitude), _mm256_and_ps(a.hi, magnitude)};
}

template <int H>
P2P_INLINE __m256 butterfly_eight(__m256 a) {
  __m256 swapped;
  if constexpr (H == 4) swapped = _mm256_permute2f128_ps(a, a, 1);
  if constexpr (H == 2) swapped = _mm256_permute_ps(a, 0x4e);
  if constexpr (H == 1) swapped = _mm256_permute_ps(a, 0xb1);
  constexpr int with_bit = H == 4 ? 0xf0 : H == 2 ? 0xcc : 0xaa;
  return _mm256_fmadd_ps(a, _mm256_blend_ps(_mm256_set1_ps(1.0f), _mm256_set1_ps(-1.0f), with_bit), swapped);
}
// Lane i without bit H: a[i] + a[i ^ H]; with it: a[i ^ H] - a[i].
template <int H>
P2P_INLINE F butterfly(F a) {
  if constexpr (H == 8)
    return {_mm256_add_ps(a.lo, a.hi), _mm256_sub_ps(a.lo, a.hi)};
  else
    return {butterfly_eight<H>(a.lo), butterfly_eight<H>(a.hi)};
}

P2P_INLINE __m256 keep_eight(__m256 a, __m256i lane, int first, int end, __m256 other) {
  const __m256i before = _mm256_cmpgt_epi32(_mm256_set1_epi32(first), lane);
  const __m256i inside = _mm256_andnot_si256(before, _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane));
  return _mm256_blendv_ps(other, a, _mm256_castsi256_ps(inside));
}
// Lanes [first, end) of a; `other` elsewhere.
P2P_INLINE F keep(F a, int first, int end, F other) {
  const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i high = _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15);
  return {keep_eight(a.lo, low, first, end, other.lo), keep_eight(a.hi, high, first, end, other.hi)};
}

P2P_INLINE __m256 scale_eight(__m256 a, __m256 shifter) {
  const __m256i n = _mm256_sub_epi32(_mm256_castps_si256(shifter), _mm256_set1_epi32(kShifterBits));
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_slli_epi32(n, 23)));
}
// a * 2^n, where shifter = n + 1.5 * 2^23 and the result is a normal number.
P2P_INLINE F scale_by_power(F a, F shifter) {
  return {scale_eight(a.lo, shifter.lo), scale_eight(a.hi, shifter.hi)};
}

P2P_INLINE float sum(F a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
P2P_INLINE float largest(F a) {
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

P2P_INLINE I set_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
P2P_INLINE F to_float(I a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }

P2P_INLINE __m256i rounded_words(F a) { return _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)); }
P2P_INLINE __m256i rounded_bytes(F a, F b) {
  const __m256i bytes = _mm256_packs_epi16(rounded_words(a), rounded_words(b));
  // packs works within 128-bit halves; the permutation restores the order of bytes.
  const __m256i ordered = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  return _mm256_max_epi8(ordered, _mm256_set1_epi8(-127));
}
// Stores four registers as 64 bytes, rounded half to even. Numbers lie within -127.5 and 127.5; NaN becomes
// -127. Returns the sum of the bytes.
P2P_INLINE int32_t store_rounded(int8_t* p, const F (&a)[4]) {
  const __m256i first = rounded_bytes(a[0], a[1]), second = rounded_bytes(a[2], a[3]);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), first);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), second);
  const __m256i ones = _mm256_set1_epi8(1);
  const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(ones, first), _mm256_maddubs_epi16(ones, second));
  const __m256i eight = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

P2P_INLINE Weights load_weights(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32))};
}

#ifdef P2P_DPBUSD
constexpr bool kUnsignedWeights = true;
constexpr int kRowTile = 3;
struct Inputs { __m256i v; };
P2P_INLINE Inputs broadcast_inputs(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return {_mm256_set1_epi32(four)};
}
P2P_INLINE I dot(I sums, Weights w, Inputs x) {
  return {P2P_DPBUSD(sums.lo, w.lo, x.v), P2P_DPBUSD(sums.hi, w.hi, x.v)};
}
#else
// maddubs multiplies unsigned by signed numbers and saturates sums of pairs at 16 bits. |x| times w with the
// sign of x stays within 2 * 127 * 127, so nothing saturates unless x or w holds -128.
constexpr bool kUnsignedWeights = false;
constexpr int kRowTile = 2;
struct Inputs { __m256i v, magnitude; };
P2P_INLINE Inputs broadcast_inputs(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  const __m256i v = _mm256_set1_epi32(four);
  return {v, _mm256_abs_epi8(v)};
}
P2P_INLINE __m256i dot_eight(__m256i sums, __m256i w, Inputs x) {
  const __m256i pairs = _mm256_maddubs_epi16(x.magnitude, _mm256_sign_epi8(w, x.v));
  return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
P2P_INLINE I dot(I sums, Weights w, Inputs x) { return {dot_eight(sums.lo, w.lo, x), dot_eight(sums.hi, w.hi, x)}; }
#endif
