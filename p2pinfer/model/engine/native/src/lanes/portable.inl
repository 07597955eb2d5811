// Sixteen lanes as plain arrays, for any processor. The other lanes must agree with this definition.
// min and max return their second operand when either is not a number, as the x86 instructions do.

struct F { float v[kLanes]; };
struct I { int32_t v[kLanes]; };
struct Weights { int8_t v[kLanes * 4]; };
struct Inputs { int8_t v[4]; };

constexpr bool kUnsignedWeights = false;
constexpr int kRowTile = 1;
constexpr int kSingleRowBlocks = 2;

#define P2P_EACH_LANE(expression)          \
  {                                        \
    F r;                                   \
    for (int i = 0; i < kLanes; ++i) r.v[i] = (expression); \
    return r;                              \
  }

P2P_INLINE F set(float x) P2P_EACH_LANE(x)
P2P_INLINE F zero() { return set(0.0f); }
P2P_INLINE F load(const float* p) P2P_EACH_LANE(p[i])
P2P_INLINE void store(float* p, const F& a) { __builtin_memcpy(p, a.v, sizeof a.v); }
P2P_INLINE F add(const F& a, const F& b) P2P_EACH_LANE(a.v[i] + b.v[i])
P2P_INLINE F sub(const F& a, const F& b) P2P_EACH_LANE(a.v[i] - b.v[i])
P2P_INLINE F mul(const F& a, const F& b) P2P_EACH_LANE(a.v[i] * b.v[i])
P2P_INLINE F div(const F& a, const F& b) P2P_EACH_LANE(a.v[i] / b.v[i])
P2P_INLINE F fma(const F& a, const F& b, const F& c) P2P_EACH_LANE(__builtin_fmaf(a.v[i], b.v[i], c.v[i]))
P2P_INLINE F min(const F& a, const F& b) P2P_EACH_LANE(a.v[i] < b.v[i] ? a.v[i] : b.v[i])
P2P_INLINE F max(const F& a, const F& b) P2P_EACH_LANE(a.v[i] > b.v[i] ? a.v[i] : b.v[i])
P2P_INLINE F absolute(const F& a) P2P_EACH_LANE(__builtin_fabsf(a.v[i]))
// Lane i without bit H: a[i] + a[i ^ H]; with it: a[i ^ H] - a[i].
template <int H>
P2P_INLINE F butterfly(const F& a) P2P_EACH_LANE((i & H) != 0 ? a.v[i ^ H] - a.v[i] : a.v[i] + a.v[i ^ H])
// Lanes [first, end) of a; `other` elsewhere.
P2P_INLINE F keep(const F& a, int first, int end, const F& other)
    P2P_EACH_LANE(first <= i && i < end ? a.v[i] : other.v[i])

// a * 2^n, where shifter = n + 1.5 * 2^23 and the result is a normal number.
P2P_INLINE F scale_by_power(const F& a, const F& shifter) {
  F r;
  for (int i = 0; i < kLanes; ++i) {
    uint32_t bits, n;
    __builtin_memcpy(&bits, &a.v[i], 4);
    __builtin_memcpy(&n, &shifter.v[i], 4);
    bits += (n - static_cast<uint32_t>(kShifterBits)) << 23;
    __builtin_memcpy(&r.v[i], &bits, 4);
  }
  return r;
}

P2P_INLINE float sum(F a) {
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  return a.v[0];
}
P2P_INLINE float largest(F a) {
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
  return a.v[0];
}

P2P_INLINE I set_int(int32_t x) {
  I r;
  for (int i = 0; i < kLanes; ++i) r.v[i] = x;
  return r;
}
P2P_INLINE F to_float(const I& a) P2P_EACH_LANE(static_cast<float>(a.v[i]))

// Stores four registers as 64 bytes, rounded half to even. Numbers lie within -127.5 and 127.5; NaN becomes
// -127. Returns the sum of the bytes.
P2P_INLINE int32_t store_rounded(int8_t* p, const F (&a)[4]) {
  int32_t total = 0;
  for (int k = 0; k < 4; ++k)
    for (int i = 0; i < kLanes; ++i) {
      const float number = a[k].v[i] == a[k].v[i] ? a[k].v[i] : -127.0f;
      const float shifted = number + kShifter;  // leaves the integer in the low bits
      int32_t bits;
      __builtin_memcpy(&bits, &shifted, 4);
      p[k * kLanes + i] = static_cast<int8_t>(bits - kShifterBits);
      total += bits - kShifterBits;
    }
  return total;
}

P2P_INLINE Weights load_weights(const uint8_t* p) {
  Weights w;
  __builtin_memcpy(w.v, p, sizeof w.v);
  return w;
}
P2P_INLINE Inputs broadcast_inputs(const int8_t* p) {
  Inputs x;
  __builtin_memcpy(x.v, p, 4);
  return x;
}
P2P_INLINE I dot(I sums, const Weights& w, const Inputs& x) {
  for (int i = 0; i < kLanes; ++i)
    for (int k = 0; k < 4; ++k) sums.v[i] += static_cast<int32_t>(w.v[4 * i + k]) * x.v[k];
  return sums;
}

#undef P2P_EACH_LANE
