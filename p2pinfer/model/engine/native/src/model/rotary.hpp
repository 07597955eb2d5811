// Sines and cosines of rotary position embeddings, the same bits on every machine.
#pragma once

namespace p2pinfer {

// Sine and cosine of x, |x| < 2^26, within 1e-15. The C library's results differ between systems.
void sine_cosine(double x, double* sine, double* cosine);

// cos and sin of position * frequencies[i], times `factor`. The angle is a float32 product, as in the training
// of the models.
void rotate_angles(int position, const float* frequencies, int count, float factor, float* cos, float* sin);

}  // namespace p2pinfer
