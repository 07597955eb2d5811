// Softmax attention over the pages of a cache. Part of kernels.inl.
//
// Two passes: first all scores, then softmax and the weighted sum of values. A lane is a key in the first pass
// and a component of the values in the second. So only the softmax's sum crosses lanes, and every sum runs in
// ascending order of components or keys, whatever else is in the tile.

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

// Turns scores into weights that aren't normalised, with zeros outside the query's range. Returns 1 / sum.
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
  // Keys outside a query's range are never multiplied, not even by zero: they may hold any bits.
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
