// Work on one row: quantization, norms, the preparation of a head. Part of kernels.inl.

// The Walsh-Hadamard transform of a group, times 8, by butterflies with strides 32, 16, 8, 4, 2, 1.
// p2pinfer/hadamard.py defines it and rotates the weights in the same way.
P2P_INLINE void rotate(F (&v)[kGroup / kLanes]) {
  static_assert(kGroup == 64 && kLanes == 16, "two strides between registers, four inside");
  const F a = add(v[0], v[2]), b = add(v[1], v[3]), c = sub(v[0], v[2]), d = sub(v[1], v[3]);
  v[0] = add(a, b);
  v[1] = sub(a, b);
  v[2] = add(c, d);
  v[3] = sub(c, d);
  P2P_UNROLL for (int i = 0; i < 4; ++i) v[i] = butterfly<1>(butterfly<2>(butterfly<4>(butterfly<8>(v[i]))));
}
constexpr float kRotationGain = 8.0f;  // sqrt(kGroup), a power of two: it enters the scale without rounding

void quantize(const float* x, const QuantizedRows& to, int row) {
  const size_t first = static_cast<size_t>(row) * to.groups;
  int8_t* values = to.values + first * kGroup;
  for (int g = 0; g < to.groups; ++g, x += kGroup, values += kGroup) {
    const bool whole = g < to.whole_groups;
    F v[kGroup / kLanes];
    P2P_UNROLL for (int i = 0; i < kGroup / kLanes; ++i) v[i] = load(x + i * kLanes);
    if (whole) rotate(v);
    F peak = zero();
    P2P_UNROLL for (int i = 0; i < kGroup / kLanes; ++i) peak = max(absolute(v[i]), peak);
    const float most = largest(peak);
    const bool silent = !(most >= 1e-30f);  // below, 127 / most would overflow
    to.scales[first + g] = silent ? 0.0f : most / (whole ? 127.0f * kRotationGain : 127.0f);
    const F inverse = set(silent ? 0.0f : 127.0f / most);
    P2P_UNROLL for (int i = 0; i < kGroup / kLanes; ++i) v[i] = mul(v[i], inverse);
    to.corrections[first + g] = -128 * store_rounded(values, v);
  }
}

void normalize(const float* x, const float* weight, int size, int padded, float epsilon, float* out) {
  F squares = zero();
  for (int i = 0; i < padded; i += kLanes) squares = fma(load(x + i), load(x + i), squares);
  const float mean = sum(squares) / static_cast<float>(size);
  const F inverse = set(1.0f / __builtin_sqrtf(mean + epsilon));
  for (int i = 0; i < padded; i += kLanes) store(out + i, mul(mul(load(x + i), inverse), load(weight + i)));
}

void prepare_head(const float* x, const float* norm, int head_dim, float epsilon, const float* cos, const float* sin,
                  float scale, float* out) {
  const int padded = round_up(head_dim, kLanes), half = head_dim / 2;
  float head[kMaxHeadDim];
  __builtin_memcpy(head, x, sizeof(float) * static_cast<size_t>(head_dim));
  for (int i = head_dim; i < padded; ++i) head[i] = out[i] = 0.0f;
  if (norm) normalize(head, norm, head_dim, padded, epsilon, head);
  for (int i = 0; i < half; ++i) {
    const float first = head[i], second = head[i + half];
    out[i] = (first * cos[i] - second * sin[i]) * scale;
    out[i + half] = (second * cos[i] + first * sin[i]) * scale;
  }
}
