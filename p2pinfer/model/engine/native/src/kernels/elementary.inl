// Elementary functions over sixteen lanes. Part of kernels.inl.

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
