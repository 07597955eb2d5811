// Sixteen lanes as four NEON registers. isa/neon.cpp includes it inside its namespace.
// min and max return their second operand when either is not a number, as on x86.

struct F { float32x4_t v[4]; };
struct I { int32x4_t v[4]; };
struct Weights { int8x16_t v[4]; };
struct Inputs { int8x16_t v; };

constexpr bool kUnsignedWeights = false;
constexpr int kRowTile = 2;
constexpr int kSingleRowBlocks = 2;

#define P2P_EACH(type, expression)                      \
  {                                                     \
    type r;                                             \
    P2P_UNROLL for (int i = 0; i < 4; ++i) r.v[i] = (expression); \
    return r;                                           \
  }

P2P_INLINE F set(float x) P2P_EACH(F, vdupq_n_f32(x))
P2P_INLINE F zero() { return set(0.0f); }
P2P_INLINE F load(const float* p) P2P_EACH(F, vld1q_f32(p + 4 * i))
P2P_INLINE void store(float* p, F a) { P2P_UNROLL for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.v[i]); }
P2P_INLINE F add(F a, F b) P2P_EACH(F, vaddq_f32(a.v[i], b.v[i]))
P2P_INLINE F sub(F a, F b) P2P_EACH(F, vsubq_f32(a.v[i], b.v[i]))
P2P_INLINE F mul(F a, F b) P2P_EACH(F, vmulq_f32(a.v[i], b.v[i]))
P2P_INLINE F div(F a, F b) P2P_EACH(F, vdivq_f32(a.v[i], b.v[i]))
P2P_INLINE F fma(F a, F b, F c) P2P_EACH(F, vfmaq_f32(c.v[i], a.v[i], b.v[i]))
P2P_INLINE F min(F a, F b) P2P_EACH(F, vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]))
P2P_INLINE F max(F a, F b) P2P_EACH(F, vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]))
P2P_INLINE F absolute(F a) P2P_EACH(F, vabsq_f32(a.v[i]))

// Lane i without bit H: a[i] + a[i ^ H]; with it: a[i ^ H] - a[i].
template <int H>
P2P_INLINE F butterfly(F a) {
  if constexpr (H >= 4) {
    constexpr int apart = H / 4;  // registers
    P2P_EACH(F, (i & apart) != 0 ? vsubq_f32(a.v[i ^ apart], a.v[i]) : vaddq_f32(a.v[i], a.v[i ^ apart]))
  } else {
    const float signs[4] = {1.0f, H == 1 ? -1.0f : 1.0f, H == 2 ? -1.0f : 1.0f, -1.0f};
    const float32x4_t by = vld1q_f32(signs);
    P2P_EACH(F, vfmaq_f32(H == 2 ? vextq_f32(a.v[i], a.v[i], 2) : vrev64q_f32(a.v[i]), a.v[i], by))
  }
}

// Lanes [first, end) of a; `other` elsewhere.
P2P_INLINE F keep(F a, int first, int end, F other) {
  const int32_t count[4] = {0, 1, 2, 3};
  F r;
  P2P_UNROLL for (int i = 0; i < 4; ++i) {
    const int32x4_t lane = vaddq_s32(vld1q_s32(count), vdupq_n_s32(4 * i));
    const uint32x4_t inside = vandq_u32(vcgeq_s32(lane, vdupq_n_s32(first)), vcltq_s32(lane, vdupq_n_s32(end)));
    r.v[i] = vbslq_f32(inside, a.v[i], other.v[i]);
  }
  return r;
}

// a * 2^n, where shifter = n + 1.5 * 2^23 and the result is a normal number.
P2P_INLINE F scale_by_power(F a, F shifter)
    P2P_EACH(F, vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a.v[i]),
                                                vshlq_n_s32(vsubq_s32(vreinterpretq_s32_f32(shifter.v[i]),
                                                                      vdupq_n_s32(kShifterBits)),
                                                            23))))

P2P_INLINE float sum(F a) {
  const float32x4_t low = vaddq_f32(a.v[0], a.v[2]), high = vaddq_f32(a.v[1], a.v[3]);
  const float32x4_t four = vaddq_f32(low, high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
P2P_INLINE float largest(F a) {
  float lanes[kLanes];
  store(lanes, a);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
  return lanes[0];
}

P2P_INLINE I set_int(int32_t x) P2P_EACH(I, vdupq_n_s32(x))
P2P_INLINE F to_float(I a) P2P_EACH(F, vcvtq_f32_s32(a.v[i]))

P2P_INLINE int16x4_t rounded_words(float32x4_t a) {
  return vmovn_s32(vbslq_s32(vceqq_f32(a, a), vcvtnq_s32_f32(a), vdupq_n_s32(-127)));
}
// Stores four registers as 64 bytes, rounded half to even. Numbers lie within -127.5 and 127.5; NaN becomes
// -127. Returns the sum of the bytes.
P2P_INLINE int32_t store_rounded(int8_t* p, const F (&a)[4]) {
  int32_t total = 0;
  P2P_UNROLL for (int i = 0; i < 4; ++i) {
    const int16x8_t low = vcombine_s16(rounded_words(a[i].v[0]), rounded_words(a[i].v[1]));
    const int16x8_t high = vcombine_s16(rounded_words(a[i].v[2]), rounded_words(a[i].v[3]));
    vst1q_s8(p + i * kLanes, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
    total += vaddvq_s16(vaddq_s16(low, high));
  }
  return total;
}

P2P_INLINE Weights load_weights(const uint8_t* p)
    P2P_EACH(Weights, vreinterpretq_s8_u8(vld1q_u8(p + 16 * i)))
P2P_INLINE Inputs broadcast_inputs(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  return {vreinterpretq_s8_s32(vdupq_n_s32(four))};
}
P2P_INLINE I dot(I sums, Weights w, Inputs x) P2P_EACH(I, vdotq_s32(sums.v[i], w.v[i], x.v))

#undef P2P_EACH
