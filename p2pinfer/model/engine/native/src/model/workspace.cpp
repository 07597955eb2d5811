#include "workspace.hpp"

#include <algorithm>

namespace p2pinfer {
namespace {

int widest_groups(const Sizes& s) {
  return std::max({s.hidden_stride, s.attention_out_stride, s.gated_stride}) / kGroup;
}

int queries_at_once(const Sizes& s) { return std::max(kQueriesPerItem, s.queries_per_key); }

}  // namespace

size_t Model::Workspace::bytes(const Model& model, int rows, int longest) {
  const Sizes& s = model.sizes_;
  const size_t r = static_cast<size_t>(rows), groups = static_cast<size_t>(widest_groups(s));
  auto floats = [](size_t count) { return Arena::rounded(sizeof(float) * count); };
  const size_t angles = floats(r * static_cast<size_t>(model.shape.head_dim / 2));
  const size_t all = 2 * floats(r * static_cast<size_t>(s.hidden_stride)) +
                     floats(r * static_cast<size_t>(s.attention_in_stride)) +
                     floats(r * static_cast<size_t>(s.attention_out_stride)) +
                     floats(r * static_cast<size_t>(s.gated_stride)) + Arena::rounded(r * groups * kGroup) +
                     2 * floats(r * groups) + 2 * P2P_ROTARIES * angles;
  const size_t each = floats(static_cast<size_t>(s.hidden_stride)) + Arena::rounded(groups * kGroup) +
                      2 * floats(groups) +
                      floats(static_cast<size_t>(queries_at_once(s)) * static_cast<size_t>(s.padded_head_dim)) +
                      floats(attention_scratch_floats(longest));
  return all + each * static_cast<size_t>(model.shape.threads);
}

Model::Workspace::Workspace(const Model& model, int rows, int longest)
    : rows(rows), longest(longest), arena(bytes(model, rows, longest), false) {
  const Sizes& s = model.sizes_;
  const size_t r = static_cast<size_t>(rows);
  const int groups = widest_groups(s);
  auto floats = [&](size_t count) { return arena.take<float>(count); };
  auto quantized = [&](size_t count) {
    const size_t n = count * static_cast<size_t>(groups);
    return QuantizedRows{arena.take<int8_t>(n * kGroup), floats(n), arena.take<int32_t>(n), groups, 0};
  };
  hidden = floats(r * static_cast<size_t>(s.hidden_stride));
  update = floats(r * static_cast<size_t>(s.hidden_stride));
  attention_in = floats(r * static_cast<size_t>(s.attention_in_stride));
  attention_out = floats(r * static_cast<size_t>(s.attention_out_stride));
  gated = floats(r * static_cast<size_t>(s.gated_stride));
  shared = quantized(r);
  for (int i = 0; i < P2P_ROTARIES; ++i) {
    cos[i] = floats(r * static_cast<size_t>(model.shape.head_dim / 2));
    sin[i] = floats(r * static_cast<size_t>(model.shape.head_dim / 2));
  }
  for (int i = 0; i < model.shape.threads; ++i)
    own.push_back({floats(static_cast<size_t>(s.hidden_stride)), quantized(1),
                   floats(static_cast<size_t>(queries_at_once(s)) * static_cast<size_t>(s.padded_head_dim)),
                   floats(attention_scratch_floats(longest))});
}

}  // namespace p2pinfer
