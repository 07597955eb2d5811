#include "rotary.hpp"

namespace p2pinfer {

void sine_cosine(double x, double* sine, double* cosine) {
  // x = quarter * pi/2 + r. The first two parts of pi/2 have at most 33 bits, so that their products with
  // quarter < 2^20 are exact.
  constexpr double kShifter = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const double shifted = x * 0x1.45f306dc9c883p-1 + kShifter;
  const double quarter = shifted - kShifter;
  double r = x - quarter * 0x1.921fb544p+0;
  r -= quarter * 0x1.0b4611a6p-34;
  r -= quarter * 0x1.3198a2e037073p-69;
  // Taylor polynomials: |r| <= pi/4 makes the first omitted terms smaller than 2e-17.
  const double z = r * r;
  double s = 1.0 / 355687428096000.0;
  s = s * z - 1.0 / 1307674368000.0;
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  s = s * z * r + r;
  double c = 1.0 / 20922789888000.0;
  c = c * z - 1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = c * z - 1.0 / 2.0;
  c = c * z + 1.0;
  switch (static_cast<long long>(quarter) & 3) {
    case 0: *sine = s; *cosine = c; break;
    case 1: *sine = c; *cosine = -s; break;
    case 2: *sine = -s; *cosine = -c; break;
    default: *sine = -c; *cosine = s; break;
  }
}

void rotate_angles(int position, const float* frequencies, int count, float factor, float* cos, float* sin) {
  for (int i = 0; i < count; ++i) {
    const float angle = static_cast<float>(position) * frequencies[i];
    double sine, cosine;
    sine_cosine(angle, &sine, &cosine);
    sin[i] = static_cast<float>(sine) * factor;
    cos[i] = static_cast<float>(cosine) * factor;
  }
}

}  // namespace p2pinfer
