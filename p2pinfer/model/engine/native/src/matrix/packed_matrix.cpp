#include "packed_matrix.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace p2pinfer {

size_t PackedMatrix::bytes(int outputs, int inputs) {
  const size_t rows = static_cast<size_t>(round_up(outputs, kLanes));
  return Arena::rounded(rows * static_cast<size_t>(round_up(inputs, kGroup))) + 2 * Arena::rounded(rows * sizeof(float));
}

PackedMatrix::PackedMatrix(Arena& arena, int outputs, int inputs, bool unsigned_weights)
    : groups_(round_up(inputs, kGroup) / kGroup),
      whole_groups_(inputs / kGroup),
      blocks_(round_up(outputs, kLanes) / kLanes),
      unsigned_weights_(unsigned_weights) {
  const size_t rows = static_cast<size_t>(blocks_) * kLanes;
  const size_t packed_bytes = rows * static_cast<size_t>(groups_) * kGroup;
  packed_ = arena.take<uint8_t>(packed_bytes);
  scales_ = arena.take<float>(rows);
  biases_ = arena.take<float>(rows);
  if (unsigned_weights) std::memset(packed_, 128, packed_bytes);
}

bool PackedMatrix::place(const int8_t* weights, const float* scales, const float* biases, int outputs, int inputs,
                         Placement where) {
  const uint8_t offset = unsigned_weights_ ? 128 : 0;
  const size_t block_bytes = static_cast<size_t>(groups_) * kGroup * kLanes;
  bool usable = true;
  for (int output = 0; output < outputs; ++output) {
    const int row = where.base + output / kLanes * kLanes * where.stride + output % kLanes;
    const int8_t* from = weights + static_cast<size_t>(output) * inputs;
    uint8_t* to = packed_ + row / kLanes * block_bytes + row % kLanes * 4;
    int8_t least = 0;
    for (int k = 0; k < inputs; k += 4, to += kLanes * 4) {
      const int count = std::min(4, inputs - k);
      for (int i = 0; i < count; ++i) {
        least = std::min(least, from[k + i]);
        to[i] = static_cast<uint8_t>(static_cast<uint8_t>(from[k + i]) + offset);
      }
    }
    scales_[row] = scales[output];
    biases_[row] = biases ? biases[output] : 0.0f;
    usable = usable && least > -128 && std::isfinite(scales_[row]) && std::isfinite(biases_[row]);
  }
  return usable;
}

int blocks_per_item(int blocks, int rows, int threads) {
  if (threads == 1) return blocks;
  if (rows > 8) return 2;
  const int fair = round_up(std::max(1, blocks / (threads * 8)), 4);
  return std::min(fair, 16);
}

}  // namespace p2pinfer
