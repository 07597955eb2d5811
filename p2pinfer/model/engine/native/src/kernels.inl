// The kernels themselves, written once over sixteen lanes. Included inside the namespace of each
// instruction set, after its lanes; see kernels.hpp for what each function promises.

// --- elementary functions -----------------------------------------------------------------------

// e^x for x clamped to [-87, 88], relative error below 2e-7. Range reduction by ln 2 in two parts,
// then a degree 6 polynomial fitted for least relative error on [-ln 2 / 2, ln 2 / 2].
P2P_INLINE F exponential(F x) {
  x = max(min(x, set(88.0f)), set(-87.0f));
  const F shifter = fma(x, set(0x1.715476p+0f), set(kShifter));
  const F n = sub(shifter, set(kShifter));
  F r = fma(n, set(-0x1.62e4p-1f), x);
  r = fma(n, set(-0x1.7f7d1cp-20f), r);
  F p = set(0x1.6ab96ep-10f);
  p = fma(p, r, set(0x1.126d1ep-7f));
  p = fma(p, r, set(0x1.55589ap-5f));
  p = fma(p, r, set(0x1.55540ap-3f));
  p = fma(p, r, set(0x1.fffffap-2f));
  p = fma(p, r, set(1.0f));
  p = fma(p, r, set(1.0f));
  return scale_by_power(p, shifter);
}

P2P_INLINE F negate(F x) { return sub(set(0.0f), x); }

P2P_INLINE F silu(F x) { return div(x, add(set(1.0f), exponential(negate(x)))); }

// x/2 (1 + tanh u) = x / (1 + e^-2u) with u = sqrt(2/pi) (x + 0.044715 x^3)
P2P_INLINE F gelu_tanh(F x) {
  const F cubic = fma(mul(mul(x, x), x), set(0.044715f), x);
  return div(x, add(set(1.0f), exponential(mul(cubic, set(-1.5957691216f)))));
}

// cap * tanh(x / cap), with tanh u = 1 - 2 / (1 + e^2u)
P2P_INLINE F soft_cap(F x, float cap) {
  const F e = exponential(div(add(x, x), set(cap)));
  return mul(set(cap), sub(set(1.0f), div(set(2.0f), add(set(1.0f), e))));
}

// --- matrix product -----------------------------------------------------------------------------

template <Store S, int B>
P2P_INLINE void store_row(const MatrixView& w, int block, const F (&total)[B], float* out) {
  F y[B];
  P2P_UNROLL for (int b = 0; b < B; ++b) {
    const int column = (block + b) * kLanes;
    y[b] = fma(total[b], load(w.scales + column), load(w.biases + column));
  }
  if constexpr (S == Store::kGateSilu || S == Store::kGateGelu) {
    static_assert(B % 2 == 0, "gate and up come in pairs");
    P2P_UNROLL for (int b = 0; b < B; b += 2) {
      const F gate = S == Store::kGateSilu ? silu(y[b]) : gelu_tanh(y[b]);
      store(out + (block + b) / 2 * kLanes, mul(gate, y[b + 1]));
    }
  } else {
    P2P_UNROLL for (int b = 0; b < B; ++b) {
      float* at = out + (block + b) * kLanes;
      store(at, S == Store::kAdd ? add(load(at), y[b]) : y[b]);
    }
  }
}

// R rows by B blocks. Per output: groups in ascending order, each an exact integer sum, scaled and
// added by one fma; so the tile's shape leaves no trace in the result.
template <Store S, int R, int B>
P2P_INLINE void tile(const MatrixView& w, const QuantizedRows& x, int row, int block, float* out, size_t stride) {
  const size_t row_bytes = static_cast<size_t>(x.groups) * kGroup;
  const size_t block_bytes = static_cast<size_t>(w.groups) * kGroup * kLanes;
  const int8_t* values = x.values + row * row_bytes;
  const float* scales = x.scales + static_cast<size_t>(row) * x.groups;
  const int32_t* corrections = x.corrections + static_cast<size_t>(row) * x.groups;
  const uint8_t* weights = w.packed + block * block_bytes;

  F total[R][B];
  P2P_UNROLL for (int r = 0; r < R; ++r)
    P2P_UNROLL for (int b = 0; b < B; ++b) total[r][b] = zero();
  for (int g = 0; g < w.groups; ++g) {
    I sums[R][B];
    P2P_UNROLL for (int r = 0; r < R; ++r)
      P2P_UNROLL for (int b = 0; b < B; ++b)
        sums[r][b] = set_int(kUnsignedWeights ? corrections[static_cast<size_t>(r) * x.groups + g] : 0);
    // The blocks after these, while these are worked on: hardware prefetchers stop at page boundaries,
    // and B streams cross one every few groups. Measured: decoding 7 % faster, batches of eight 25 %.
    if (row == 0)
      for (int k = 0; k < kGroup; k += 4)
        P2P_UNROLL for (int b = 0; b < B; ++b)
          __builtin_prefetch(weights + (B + b) * block_bytes + (static_cast<size_t>(g) * kGroup + k) * kLanes, 0, 2);
    P2P_UNROLL for (int k = 0; k < kGroup; k += 4) {
      Weights column[B];
      P2P_UNROLL for (int b = 0; b < B; ++b)
        column[b] = load_weights(weights + b * block_bytes + (static_cast<size_t>(g) * kGroup + k) * kLanes);
      P2P_UNROLL for (int r = 0; r < R; ++r) {
        const Inputs four = broadcast_inputs(values + r * row_bytes + static_cast<size_t>(g) * kGroup + k);
        P2P_UNROLL for (int b = 0; b < B; ++b) sums[r][b] = dot(sums[r][b], column[b], four);
      }
    }
    P2P_UNROLL for (int r = 0; r < R; ++r) {
      const F scale = set(scales[static_cast<size_t>(r) * x.groups + g]);
      P2P_UNROLL for (int b = 0; b < B; ++b) total[r][b] = fma(to_float(sums[r][b]), scale, total[r][b]);
    }
  }
  P2P_UNROLL for (int r = 0; r < R; ++r) store_row<S, B>(w, block, total[r], out + (row + r) * stride);
}

// The last rows, fewer than a whole tile.
template <Store S, int R, int B>
P2P_INLINE void remaining_rows(const MatrixView& w, const QuantizedRows& x, int row, int rows, int block, float* out,
                               size_t stride) {
  if constexpr (R > 0) {
    if (rows == R)
      tile<S, R, B>(w, x, row, block, out, stride);
    else
      remaining_rows<S, R - 1, B>(w, x, row, rows, block, out, stride);
  }
}

template <Store S, int B>
void all_rows(const MatrixView& w, const QuantizedRows& x, int rows, int block, float* out, size_t stride) {
  int row = 0;
  for (; row + kRowTile <= rows; row += kRowTile) tile<S, kRowTile, B>(w, x, row, block, out, stride);
  remaining_rows<S, kRowTile - 1, B>(w, x, row, rows - row, block, out, stride);
}

template <Store S>
void matmul_with(const MatrixView& w, const QuantizedRows& x, int rows, int block, int end, float* out, size_t stride) {
  if (rows == 1)
    for (; block + kSingleRowBlocks <= end; block += kSingleRowBlocks)
      tile<S, 1, kSingleRowBlocks>(w, x, 0, block, out, stride);
  for (; block + 2 <= end; block += 2) all_rows<S, 2>(w, x, rows, block, out, stride);
  if constexpr (S == Store::kOverwrite || S == Store::kAdd)
    if (block < end) all_rows<S, 1>(w, x, rows, block, out, stride);
}

void matmul(const MatrixView& w, const QuantizedRows& x, int rows, int first_block, int end_block, float* out,
            size_t stride, Store how) {
  switch (how) {
    case Store::kOverwrite: return matmul_with<Store::kOverwrite>(w, x, rows, first_block, end_block, out, stride);
    case Store::kAdd: return matmul_with<Store::kAdd>(w, x, rows, first_block, end_block, out, stride);
    case Store::kGateSilu: return matmul_with<Store::kGateSilu>(w, x, rows, first_block, end_block, out, stride);
    case Store::kGateGelu: return matmul_with<Store::kGateGelu>(w, x, rows, first_block, end_block, out, stride);
  }
}

// --- rows ---------------------------------------------------------------------------------------

// The Walsh-Hadamard transform of a group, 8 times as large as the orthonormal one, by butterflies with
// strides 32, 16, 8, 4, 2, 1: p2pinfer/hadamard.py defines it, and rotates the weights the same.
P2P_INLINE void rotate(F (&v)[kGroup / kLanes]) {
  static_assert(kGroup == 64 && kLanes == 16, "two strides between registers, four inside");
  const F a = add(v[0], v[2]), b = add(v[1], v[3]), c = sub(v[0], v[2]), d = sub(v[1], v[3]);
  v[0] = add(a, b);
  v[1] = sub(a, b);
  v[2] = add(c, d);
  v[3] = sub(c, d);
  P2P_UNROLL for (int i = 0; i < 4; ++i) v[i] = butterfly<1>(butterfly<2>(butterfly<4>(butterfly<8>(v[i]))));
}
constexpr float kRotationGain = 8.0f;  // sqrt(kGroup), a power of two: it goes into the scale unrounded

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

// --- attention ----------------------------------------------------------------------------------
// Two passes: all scores, then softmax and the weighted sum of values. A lane is a key in the first
// pass and a value's component in the second, so no sum crosses lanes except the softmax's own, and
// each runs in ascending order of component or key, whoever else is in the tile.

constexpr float kMinusInfinity = -__builtin_inff();

template <int Q, int B>
P2P_INLINE void score_pages(const KeyValueView& cache, float softcap, const AttentionQuery* queries, int page,
                            int first_page, F (&best)[Q], float* const (&scores)[Q]) {
  F dots[Q][B];
  P2P_UNROLL for (int q = 0; q < Q; ++q)
    P2P_UNROLL for (int b = 0; b < B; ++b) dots[q][b] = zero();
  const float* keys[B];
  P2P_UNROLL for (int b = 0; b < B; ++b) keys[b] = cache.pages[page + b] + cache.key_offset;
  for (int d = 0; d < cache.head_dim; ++d) {
    F key[B];
    P2P_UNROLL for (int b = 0; b < B; ++b) key[b] = load(keys[b] + d * kPageTokens);
    P2P_UNROLL for (int q = 0; q < Q; ++q) {
      const F component = set(queries[q].query[d]);
      P2P_UNROLL for (int b = 0; b < B; ++b) dots[q][b] = fma(component, key[b], dots[q][b]);
    }
  }
  P2P_UNROLL for (int q = 0; q < Q; ++q)
    P2P_UNROLL for (int b = 0; b < B; ++b) {
      const int start = (page + b) * kPageTokens;
      F score = dots[q][b];
      if (softcap > 0.0f) score = soft_cap(score, softcap);
      score = keep(score, queries[q].first_key - start, queries[q].end_key - start, set(kMinusInfinity));
      best[q] = max(score, best[q]);
      store(scores[q] + static_cast<size_t>(page + b - first_page) * kPageTokens, score);
    }
}

// Turns scores into unnormalised weights, zero outside the query's range. Returns 1 / their sum.
P2P_INLINE float soften(const AttentionQuery& query, float best, int first_page, int end_page, float* scores) {
  F total = zero();
  const F peak = set(best);
  for (int page = first_page; page < end_page; ++page) {
    float* at = scores + static_cast<size_t>(page - first_page) * kPageTokens;
    const int start = page * kPageTokens;
    const F weight = keep(exponential(sub(load(at), peak)), query.first_key - start, query.end_key - start, zero());
    total = add(total, weight);
    store(at, weight);
  }
  return 1.0f / sum(total);
}

// sums[q] += weight of key * value of key, keys [from, to) in order, C lanes from component d.
template <int Q, int C>
P2P_INLINE void add_values(const KeyValueView& cache, const float* const* weights, int first_page, int from, int to,
                           int d, F (&sums)[Q][C]) {
  for (int key = from; key < to;) {
    const int page = key / kPageTokens, end = to < (page + 1) * kPageTokens ? to : (page + 1) * kPageTokens;
    const float* values = cache.pages[page] + cache.value_offset + d;
    for (; key < end; ++key) {
      const float* value = values + static_cast<size_t>(key % kPageTokens) * cache.padded_head_dim;
      F part[C];
      P2P_UNROLL for (int c = 0; c < C; ++c) part[c] = load(value + c * kLanes);
      P2P_UNROLL for (int q = 0; q < Q; ++q) {
        const F weight = set(weights[q][key - first_page * kPageTokens]);
        P2P_UNROLL for (int c = 0; c < C; ++c) sums[q][c] = fma(weight, part[c], sums[q][c]);
      }
    }
  }
}

template <int C>
void add_values_alone(const KeyValueView& cache, const float* weights, int first_page, int from, int to, int d,
                      F (&sums)[C]) {
  F one[1][C];
  P2P_UNROLL for (int c = 0; c < C; ++c) one[0][c] = sums[c];
  add_values<1, C>(cache, &weights, first_page, from, to, d, one);
  P2P_UNROLL for (int c = 0; c < C; ++c) sums[c] = one[0][c];
}

template <int Q, int C>
P2P_INLINE void weigh_values(const KeyValueView& cache, const AttentionQuery* queries, float* const (&weights)[Q],
                             const float (&inverse)[Q], int first_page, int d) {
  // Keys outside a query's range are never multiplied, not even by zero: they may hold anything.
  int from = queries[0].first_key, to = queries[0].end_key;
  for (int q = 1; q < Q; ++q) {
    if (queries[q].first_key > from) from = queries[q].first_key;
    if (queries[q].end_key < to) to = queries[q].end_key;
  }
  if (to < from) to = from;
  F sums[Q][C];
  P2P_UNROLL for (int q = 0; q < Q; ++q) {
    P2P_UNROLL for (int c = 0; c < C; ++c) sums[q][c] = zero();
    const int before = from < queries[q].end_key ? from : queries[q].end_key;
    if (queries[q].first_key < before)
      add_values_alone<C>(cache, weights[q], first_page, queries[q].first_key, before, d, sums[q]);
  }
  add_values<Q, C>(cache, weights, first_page, from, to, d, sums);
  P2P_UNROLL for (int q = 0; q < Q; ++q) {
    if (to < queries[q].end_key)
      add_values_alone<C>(cache, weights[q], first_page, to, queries[q].end_key, d, sums[q]);
    float padded[C * kLanes];
    P2P_UNROLL for (int c = 0; c < C; ++c) store(padded + c * kLanes, mul(sums[q][c], set(inverse[q])));
    const int left = cache.head_dim - d, count = left < C * kLanes ? left : C * kLanes;
    __builtin_memcpy(queries[q].out + d, padded, sizeof(float) * static_cast<size_t>(count));
  }
}

template <int Q>
void attend_tile(const KeyValueView& cache, float softcap, const AttentionQuery* queries, float* scratch) {
  int first = queries[0].first_key, end = queries[0].end_key;
  for (int q = 1; q < Q; ++q) {
    if (queries[q].first_key < first) first = queries[q].first_key;
    if (queries[q].end_key > end) end = queries[q].end_key;
  }
  const int first_page = first / kPageTokens, end_page = (end + kPageTokens - 1) / kPageTokens;
  const size_t width = static_cast<size_t>(end_page - first_page) * kPageTokens;
  float* scores[Q];
  F best[Q];
  P2P_UNROLL for (int q = 0; q < Q; ++q) {
    scores[q] = scratch + q * width;
    best[q] = set(kMinusInfinity);
  }
  int page = first_page;
  for (; page + 2 <= end_page; page += 2) score_pages<Q, 2>(cache, softcap, queries, page, first_page, best, scores);
  if (page < end_page) score_pages<Q, 1>(cache, softcap, queries, page, first_page, best, scores);

  float inverse[Q];
  for (int q = 0; q < Q; ++q) inverse[q] = soften(queries[q], largest(best[q]), first_page, end_page, scores[q]);

  constexpr int kWide = 4;
  int d = 0;
  for (; d + kWide * kLanes <= cache.padded_head_dim; d += kWide * kLanes)
    weigh_values<Q, kWide>(cache, queries, scores, inverse, first_page, d);
  for (; d < cache.padded_head_dim; d += kLanes) weigh_values<Q, 1>(cache, queries, scores, inverse, first_page, d);
}

void attend(const KeyValueView& cache, float softcap, const AttentionQuery* queries, int count, float* scratch) {
  for (; count >= kQueryTile; count -= kQueryTile, queries += kQueryTile)
    attend_tile<kQueryTile>(cache, softcap, queries, scratch);
  switch (count) {
    case 5: return attend_tile<5>(cache, softcap, queries, scratch);
    case 4: return attend_tile<4>(cache, softcap, queries, scratch);
    case 3: return attend_tile<3>(cache, softcap, queries, scratch);
    case 2: return attend_tile<2>(cache, softcap, queries, scratch);
    case 1: return attend_tile<1>(cache, softcap, queries, scratch);
  }
}
