// A span of decoder layers: its weights, and everything that running tokens through them needs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../kernels/kernels.hpp"
#include "../matrix/packed_matrix.hpp"
#include "../p2pinfer_native.h"
#include "../system/memory.hpp"
#include "../system/team.hpp"
#include "cache.hpp"

namespace p2pinfer {

struct Layer {
  PackedMatrix attention_in;   // queries, keys, values
  PackedMatrix attention_out;
  PackedMatrix mlp_in;         // gate and up, alternating blocks
  PackedMatrix mlp_out;
  float* norms[P2P_NORMS] = {};  // nullptr: the family has no norm there
  int window = 0;                // keys that a query sees, its own included; 0: all
  int rotary = 0;
  unsigned filled_linears = 0;   // bit per P2P_LINEAR_*
  unsigned filled_norms = 0;
};

struct Rotary {
  std::vector<float> frequencies;
  float factor = 1.0f;
};

// Sizes derived from the shape. Strides are the lengths of workspace rows in floats, padded to whole groups
// with zeros, which every kernel preserves.
struct Sizes {
  explicit Sizes(const p2p_shape& shape);
  int padded_head_dim;
  int queries_per_key;  // query heads that share a key-value head
  int keys_at, values_at;  // first row of keys and of values in attention_in
  int attention_in_rows, attention_out_columns;
  int hidden_stride, attention_in_stride, attention_out_stride, gated_stride;
};

class Model {
 public:
  // Throws std::bad_alloc. The shape has been checked.
  Model(const p2p_shape& shape, const Kernels& kernels);

  int set_linear(int layer, int which, const int8_t* weights, const float* scales, const float* biases);
  int set_norm(int layer, int which, const float* weights);
  void set_layer(int layer, int window, int rotary);
  void set_rotary(int rotary, const float* frequencies, float factor);
  bool complete() const;

  int forward(Sequence* const* sequences, const int32_t* tokens, int count, const float* in, float* out);

  const p2p_shape shape;
  size_t weight_bytes() const { return weights_.bytes(); }
  PageLayout layout(int layers) const { return {layers, shape.kv_heads, shape.head_dim, sizes_.padded_head_dim}; }
  TokenBudget& budget() { return budget_; }
  const TokenBudget& budget() const { return budget_; }

 private:
  friend class Step;
  const Sizes sizes_;
  const Kernels& kernels_;
  Arena weights_;
  std::vector<Layer> layers_;
  Rotary rotaries_[P2P_ROTARIES];
  TokenBudget budget_;
  Team team_;
  struct Workspace;
  std::shared_ptr<Workspace> workspace_;  // shared: its type is complete only in workspace.hpp
};

}  // namespace p2pinfer
