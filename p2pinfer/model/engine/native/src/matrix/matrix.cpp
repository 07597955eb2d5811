#include "matrix.hpp"

#include <algorithm>
#include <cstring>

#include "../system/environment.hpp"

namespace p2pinfer {

Matrix::Matrix(const Kernels& kernels, int outputs, int inputs, int threads)
    : kernels_(kernels),
      outputs_(outputs),
      inputs_(inputs),
      arena_(PackedMatrix::bytes(outputs, inputs), true),
      packed_(arena_, outputs, inputs, kernels.unsigned_weights),
      team_(threads) {}

bool Matrix::fill(const int8_t* weights, const float* scales) {
  return packed_.place(weights, scales, nullptr, outputs_, inputs_, {0, 1});
}

void Matrix::multiply(const float* x, int rows, float* y) {
  constexpr int kRowsAtOnce = 64;
  const int groups = packed_.groups(), blocks = packed_.blocks(), most = std::min(rows, kRowsAtOnce);
  const size_t padded_inputs = static_cast<size_t>(groups) * kGroup, padded_outputs = static_cast<size_t>(blocks) * kLanes;
  const bool direct = padded_outputs == static_cast<size_t>(outputs_);
  const size_t count = static_cast<size_t>(most);
  Arena scratch(Arena::rounded(padded_inputs * sizeof(float)) + Arena::rounded(count * padded_inputs) +
                    2 * Arena::rounded(count * static_cast<size_t>(groups) * sizeof(float)) +
                    (direct ? 0 : Arena::rounded(count * padded_outputs * sizeof(float))),
                false);
  float* padded = scratch.take<float>(padded_inputs);
  QuantizedRows quantized{scratch.take<int8_t>(count * padded_inputs), scratch.take<float>(count * groups),
                          scratch.take<int32_t>(count * groups), groups, packed_.whole_groups()};
  float* staged = direct ? nullptr : scratch.take<float>(count * padded_outputs);
  const MatrixView view = packed_.view();
  for (int first = 0; first < rows; first += kRowsAtOnce) {
    const int part = std::min(rows - first, kRowsAtOnce);
    float* out = direct ? y + static_cast<size_t>(first) * padded_outputs : staged;
    DefaultFloatingPoint here;
    for (int r = 0; r < part; ++r) {
      std::memcpy(padded, x + static_cast<size_t>(first + r) * inputs_, sizeof(float) * inputs_);
      kernels_.quantize(padded, quantized, r);
    }
    const int step = blocks_per_item(blocks, part, team_.threads());
    team_.run(1, [&](Team::Member& member) {
      DefaultFloatingPoint there;
      member.share((blocks + step - 1) / step, [&](int item) {
        kernels_.matmul(view, quantized, part, item * step, std::min(blocks, (item + 1) * step), out, padded_outputs,
                        Store::kOverwrite);
      });
    });
    if (!direct)
      for (int r = 0; r < part; ++r)
        std::memcpy(y + static_cast<size_t>(first + r) * outputs_, staged + r * padded_outputs, sizeof(float) * outputs_);
  }
}

}  // namespace p2pinfer
