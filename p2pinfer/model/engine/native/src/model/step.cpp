#include "step.hpp"

#include <algorithm>
#include <cstring>

#include "../system/environment.hpp"
#include "rotary.hpp"

namespace p2pinfer {

Step::Step(const Model& model, Model::Workspace& space, const std::vector<Row>& rows, int first_layer, int end_layer)
    : model_(model),
      sizes_(model.sizes_),
      kernels_(model.kernels_),
      space_(space),
      rows_(rows),
      first_layer_(first_layer),
      end_layer_(end_layer),
      decoding_(true) {
  const int count = static_cast<int>(rows_.size()), half = model.shape.head_dim / 2;
  const int most = std::max(1, kQueriesPerItem / sizes_.queries_per_key);
  for (int row = 0; row < count; ++row) {
    const bool follows = row > 0 && rows_[row].sequence == rows_[row - 1].sequence;
    if (follows) decoding_ = false;
    if (follows && tiles_.back().rows < most)
      ++tiles_.back().rows;
    else
      tiles_.push_back({row, 1});
    for (int i = 0; i < P2P_ROTARIES; ++i) {
      const Rotary& rotary = model.rotaries_[i];
      if (!rotary.frequencies.empty())
        rotate_angles(rows_[row].position, rotary.frequencies.data(), half, rotary.factor,
                      space.cos[i] + static_cast<size_t>(row) * half, space.sin[i] + static_cast<size_t>(row) * half);
    }
  }
}

void Step::run(Team::Member& member) const {
  DefaultFloatingPoint here;
  const Store gated = model_.shape.activation == P2P_ACTIVATION_SILU ? Store::kGateSilu : Store::kGateGelu;
  for (int index = first_layer_; index < end_layer_; ++index) {
    const Layer& layer = model_.layers_[static_cast<size_t>(index)];
    product(member, {space_.hidden, sizes_.hidden_stride, layer.norms[P2P_NORM_ATTENTION]}, layer.attention_in,
            space_.attention_in, sizes_.attention_in_stride, Store::kOverwrite);
    attention(member, layer, index);
    add_to_hidden(member, {space_.attention_out, sizes_.attention_out_stride, nullptr}, layer.attention_out,
                  layer.norms[P2P_NORM_AFTER_ATTENTION]);
    product(member, {space_.hidden, sizes_.hidden_stride, layer.norms[P2P_NORM_MLP]}, layer.mlp_in, space_.gated,
            sizes_.gated_stride, gated);
    add_to_hidden(member, {space_.gated, sizes_.gated_stride, nullptr}, layer.mlp_out,
                  layer.norms[P2P_NORM_AFTER_MLP]);
  }
}

template <class Work>
void Step::share_rows(Team::Member& member, Work&& work) const {
  const int count = static_cast<int>(rows_.size()), each = count > 16 ? 4 : 1;
  member.share((count + each - 1) / each, [&](int item) {
    for (int row = item * each; row < std::min(count, (item + 1) * each); ++row) work(row);
  });
}

void Step::quantize(const Source& source, int row, Own& own, const QuantizedRows& to, int to_row) const {
  const float* x = source.rows + static_cast<size_t>(row) * source.stride;
  if (source.norm) {
    kernels_.normalize(x, source.norm, model_.shape.hidden, source.stride, model_.shape.epsilon, own.normalized);
    x = own.normalized;
  }
  kernels_.quantize(x, to, to_row);
}

// out = quantized source times matrix. Every member quantizes a single row for itself: that costs less than
// waiting for another member.
void Step::product(Team::Member& member, const Source& source, const PackedMatrix& matrix, float* out, int stride,
                   Store store) const {
  Own& own = space_.own[static_cast<size_t>(member.index())];
  const int count = static_cast<int>(rows_.size()), blocks = matrix.blocks();
  const int step = blocks_per_item(blocks, count, model_.team_.threads());
  QuantizedRows x = count == 1 ? own.single : space_.shared;
  x.groups = matrix.groups();
  x.whole_groups = matrix.whole_groups();
  if (count > 1) share_rows(member, [&](int row) { quantize(source, row, own, x, row); });
  bool ready = count > 1;
  member.share((blocks + step - 1) / step, [&](int item) {
    if (!ready) quantize(source, 0, own, x, 0);
    ready = true;
    kernels_.matmul(matrix.view(), x, count, item * step, std::min(blocks, (item + 1) * step), out,
                    static_cast<size_t>(stride), store);
  });
}

void Step::add_to_hidden(Team::Member& member, const Source& source, const PackedMatrix& matrix,
                         const float* norm) const {
  if (norm == nullptr) return product(member, source, matrix, space_.hidden, sizes_.hidden_stride, Store::kAdd);
  product(member, source, matrix, space_.update, sizes_.hidden_stride, Store::kOverwrite);
  Own& own = space_.own[static_cast<size_t>(member.index())];
  share_rows(member, [&](int row) {
    const size_t start = static_cast<size_t>(row) * sizes_.hidden_stride;
    kernels_.normalize(space_.update + start, norm, model_.shape.hidden, sizes_.hidden_stride, model_.shape.epsilon,
                       own.normalized);
    for (int i = 0; i < sizes_.hidden_stride; ++i) space_.hidden[start + i] += own.normalized[i];
  });
}

void Step::attention(Team::Member& member, const Layer& layer, int index) const {
  Own& own = space_.own[static_cast<size_t>(member.index())];
  const int kv_heads = model_.shape.kv_heads, tiles = static_cast<int>(tiles_.size());
  // With few items, the query heads of a group go to different members, though they read the same keys.
  const bool split = tiles * kv_heads < model_.team_.threads() && sizes_.queries_per_key > 1;
  // When decoding, only the item itself reads its new key, so it can append the key itself.
  const bool append_here = decoding_ && !split;
  if (!append_here)
    share_rows(member, [&](int row) {
      for (int kv_head = 0; kv_head < kv_heads; ++kv_head) append_row(layer, index, row, kv_head);
    });
  const int heads_each = split ? 1 : sizes_.queries_per_key, per_tile = model_.shape.heads / heads_each;
  member.share(tiles * per_tile, [&](int item) {
    const Tile& tile = tiles_[static_cast<size_t>(item / per_tile)];
    const int first_head = item % per_tile * heads_each;
    if (append_here) append_row(layer, index, tile.first_row, first_head / sizes_.queries_per_key);
    attend(layer, index, tile, first_head, heads_each, own);
  });
}

void Step::append_row(const Layer& layer, int index, int row, int kv_head) const {
  const p2p_shape& shape = model_.shape;
  const size_t half = static_cast<size_t>(shape.head_dim / 2);
  const float* from = space_.attention_in + static_cast<size_t>(row) * sizes_.attention_in_stride;
  float key[kMaxHeadDim];
  kernels_.prepare_head(from + sizes_.keys_at + kv_head * shape.head_dim, layer.norms[P2P_NORM_KEY], shape.head_dim,
                        shape.epsilon, space_.cos[layer.rotary] + row * half, space_.sin[layer.rotary] + row * half,
                        1.0f, key);
  const Row& at = rows_[static_cast<size_t>(row)];
  const int slot = at.position % kPageTokens;
  float* page = at.sequence->page(at.position);
  const int place = index - at.sequence->first_layer;
  float* keys = page + at.sequence->layout.key_offset(place, kv_head) + slot;
  for (int i = 0; i < shape.head_dim; ++i) keys[i * kPageTokens] = key[i];
  std::memcpy(page + at.sequence->layout.value_offset(place, kv_head) + static_cast<size_t>(slot) * sizes_.padded_head_dim,
              from + sizes_.values_at + kv_head * shape.head_dim, sizeof(float) * static_cast<size_t>(shape.head_dim));
}

// The tile's rows, heads [first_head, first_head + heads) of one key-value head.
void Step::attend(const Layer& layer, int index, const Tile& tile, int first_head, int heads, Own& own) const {
  const p2p_shape& shape = model_.shape;
  const size_t half = static_cast<size_t>(shape.head_dim / 2);
  const int kv_head = first_head / sizes_.queries_per_key;
  const Sequence& sequence = *rows_[static_cast<size_t>(tile.first_row)].sequence;
  const int place = index - sequence.first_layer;
  const KeyValueView cache{sequence.starts(), sequence.layout.key_offset(place, kv_head),
                           sequence.layout.value_offset(place, kv_head), shape.head_dim, sizes_.padded_head_dim};
  AttentionQuery queries[kQueryTile];
  int waiting = 0;
  for (int i = 0; i < tile.rows; ++i) {
    const int row = tile.first_row + i, position = rows_[static_cast<size_t>(row)].position;
    const int first_key = layer.window > 0 ? std::max(0, position - layer.window + 1) : 0;
    for (int head = first_head; head < first_head + heads; ++head) {
      float* query = own.queries + static_cast<size_t>(waiting) * sizes_.padded_head_dim;
      kernels_.prepare_head(
          space_.attention_in + static_cast<size_t>(row) * sizes_.attention_in_stride + head * shape.head_dim,
          layer.norms[P2P_NORM_QUERY], shape.head_dim, shape.epsilon, space_.cos[layer.rotary] + row * half,
          space_.sin[layer.rotary] + row * half, shape.attention_scale, query);
      float* out = space_.attention_out + static_cast<size_t>(row) * sizes_.attention_out_stride + head * shape.head_dim;
      queries[waiting++] = {query, out, first_key, position + 1};
      if (waiting == kQueryTile) {
        kernels_.attend(cache, shape.attention_softcap, queries, waiting, own.scores);
        waiting = 0;
      }
    }
  }
  if (waiting > 0) kernels_.attend(cache, shape.attention_softcap, queries, waiting, own.scores);
}

}  // namespace p2pinfer
