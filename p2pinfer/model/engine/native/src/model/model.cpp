// Where the weights lie. forward.cpp runs them.
#include "model.hpp"

#include <algorithm>
#include <cmath>

namespace p2pinfer {

Sizes::Sizes(const p2p_shape& shape)
    : padded_head_dim(round_up(shape.head_dim, kLanes)),
      queries_per_key(shape.heads / shape.kv_heads),
      keys_at(round_up(shape.heads * shape.head_dim, kLanes)),
      values_at(keys_at + round_up(shape.kv_heads * shape.head_dim, kLanes)),
      attention_in_rows(values_at + round_up(shape.kv_heads * shape.head_dim, kLanes)),
      attention_out_columns(shape.heads * shape.head_dim),
      hidden_stride(round_up(shape.hidden, kGroup)),
      attention_in_stride(attention_in_rows),
      attention_out_stride(round_up(attention_out_columns, kGroup)),
      gated_stride(round_up(shape.intermediate, kGroup)) {}

namespace {

size_t norm_floats(const p2p_shape& shape, int which) {
  const bool of_head = which == P2P_NORM_QUERY || which == P2P_NORM_KEY;
  return static_cast<size_t>(of_head ? round_up(shape.head_dim, kLanes) : round_up(shape.hidden, kGroup));
}

size_t layer_bytes(const p2p_shape& shape, const Sizes& sizes) {
  size_t bytes = PackedMatrix::bytes(sizes.attention_in_rows, shape.hidden) +
                 PackedMatrix::bytes(shape.hidden, sizes.attention_out_columns) +
                 PackedMatrix::bytes(2 * round_up(shape.intermediate, kLanes), shape.hidden) +
                 PackedMatrix::bytes(shape.hidden, shape.intermediate);
  for (int which = 0; which < P2P_NORMS; ++which)
    if (shape.norms >> which & 1) bytes += Arena::rounded(sizeof(float) * norm_floats(shape, which));
  return bytes;
}

}  // namespace

Model::Model(const p2p_shape& given, const Kernels& kernels)
    : shape(given),
      sizes_(given),
      kernels_(kernels),
      weights_(layer_bytes(given, sizes_) * static_cast<size_t>(given.layers), true),
      layers_(static_cast<size_t>(given.layers)),
      budget_(given.max_cache_layer_tokens),
      team_(given.threads) {
  const bool offset = kernels.unsigned_weights;
  for (Layer& layer : layers_) {
    layer.attention_in = PackedMatrix(weights_, sizes_.attention_in_rows, shape.hidden, offset);
    layer.attention_out = PackedMatrix(weights_, shape.hidden, sizes_.attention_out_columns, offset);
    layer.mlp_in = PackedMatrix(weights_, 2 * round_up(shape.intermediate, kLanes), shape.hidden, offset);
    layer.mlp_out = PackedMatrix(weights_, shape.hidden, shape.intermediate, offset);
    for (int which = 0; which < P2P_NORMS; ++which)
      if (shape.norms >> which & 1) layer.norms[which] = weights_.take<float>(norm_floats(shape, which));
  }
}

int Model::set_linear(int index, int which, const int8_t* weights, const float* scales, const float* biases) {
  Layer& layer = layers_[static_cast<size_t>(index)];
  const int hidden = shape.hidden, queries = shape.heads * shape.head_dim, keys = shape.kv_heads * shape.head_dim;
  bool usable = false;
  auto place = [&](PackedMatrix& matrix, int outputs, int inputs, Placement where) {
    usable = matrix.place(weights, scales, biases, outputs, inputs, where);
  };
  switch (which) {
    case P2P_LINEAR_Q: place(layer.attention_in, queries, hidden, {0, 1}); break;
    case P2P_LINEAR_K: place(layer.attention_in, keys, hidden, {sizes_.keys_at, 1}); break;
    case P2P_LINEAR_V: place(layer.attention_in, keys, hidden, {sizes_.values_at, 1}); break;
    case P2P_LINEAR_O: place(layer.attention_out, hidden, queries, {0, 1}); break;
    case P2P_LINEAR_GATE: place(layer.mlp_in, shape.intermediate, hidden, {0, 2}); break;
    case P2P_LINEAR_UP: place(layer.mlp_in, shape.intermediate, hidden, {kLanes, 2}); break;
    case P2P_LINEAR_DOWN: place(layer.mlp_out, hidden, shape.intermediate, {0, 1}); break;
    default: return P2P_ERROR_ARGUMENT;
  }
  if (!usable) return P2P_ERROR_WEIGHTS;
  layer.filled_linears |= 1u << which;
  return P2P_OK;
}

int Model::set_norm(int index, int which, const float* weights) {
  Layer& layer = layers_[static_cast<size_t>(index)];
  if (which < 0 || which >= P2P_NORMS || layer.norms[which] == nullptr) return P2P_ERROR_ARGUMENT;
  const bool of_head = which == P2P_NORM_QUERY || which == P2P_NORM_KEY;
  const int size = of_head ? shape.head_dim : shape.hidden;
  for (int i = 0; i < size; ++i) {
    if (!std::isfinite(weights[i])) return P2P_ERROR_WEIGHTS;
    layer.norms[which][i] = weights[i];
  }
  layer.filled_norms |= 1u << which;
  return P2P_OK;
}

void Model::set_layer(int index, int window, int rotary) {
  layers_[static_cast<size_t>(index)].window = window;
  layers_[static_cast<size_t>(index)].rotary = rotary;
}

void Model::set_rotary(int rotary, const float* frequencies, float factor) {
  rotaries_[rotary].frequencies.assign(frequencies, frequencies + shape.head_dim / 2);
  rotaries_[rotary].factor = factor;
}

bool Model::complete() const {
  for (const Layer& layer : layers_) {
    if (layer.filled_linears != (1u << P2P_LINEARS) - 1 || layer.filled_norms != shape.norms) return false;
    if (rotaries_[layer.rotary].frequencies.empty()) return false;
  }
  return true;
}

}  // namespace p2pinfer
