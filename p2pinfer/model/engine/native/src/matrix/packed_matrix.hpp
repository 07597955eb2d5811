// INT8 weights in the order that the kernels read them in.
#pragma once

#include <cstdint>

#include "../kernels/kernels.hpp"
#include "../system/memory.hpp"

namespace p2pinfer {

// The place of a source matrix's rows: output o becomes row base + o / 16 * 16 * stride + o % 16. Stride 2
// interleaves gate and up by blocks.
struct Placement {
  int base;
  int stride;
};

class PackedMatrix {
 public:
  PackedMatrix() = default;

  static size_t bytes(int outputs, int inputs);
  PackedMatrix(Arena& arena, int outputs, int inputs, bool unsigned_weights);

  // Packs weights[outputs][inputs] with their scales and biases (nullptr: none). Returns false if a weight is
  // -128 or a scale or bias isn't finite; some of them may be written then.
  bool place(const int8_t* weights, const float* scales, const float* biases, int outputs, int inputs,
             Placement where);

  MatrixView view() const { return {packed_, scales_, biases_, groups_}; }
  int groups() const { return groups_; }
  int whole_groups() const { return whole_groups_; }  // of inputs; the last group may be short
  int blocks() const { return blocks_; }

 private:
  uint8_t* packed_ = nullptr;
  float* scales_ = nullptr;
  float* biases_ = nullptr;
  int groups_ = 0;
  int whole_groups_ = 0;
  int blocks_ = 0;
  bool unsigned_weights_ = false;
};

// Number of blocks that a thread takes at a time: enough to stream, few enough for even shares.
int blocks_per_item(int blocks, int rows, int threads);

}  // namespace p2pinfer
