// Model::forward: takes room in the caches, cuts the tokens into rounds, runs a Step for each of them.
#include <algorithm>
#include <cstring>

#include "../system/environment.hpp"
#include "step.hpp"
#include "workspace.hpp"

namespace p2pinfer {
namespace {

// A longer input goes through the span in several rounds. This bounds the workspace, and 256 rows
// already spend 100 times as long computing as reading the weights once more.
constexpr int kMaxRows = 256;

}  // namespace

int Model::forward(Sequence* const* sequences, const int32_t* tokens, int count, const float* in, float* out) {
  const DefaultFloatingPoint here;
  int longest = 0;
  int64_t total = 0;
  for (int i = 0; i < count; ++i) {
    if (tokens[i] < 0 || tokens[i] > INT32_MAX - kPageTokens - sequences[i]->length()) return P2P_ERROR_ARGUMENT;
    if (sequences[i]->first_layer != sequences[0]->first_layer ||
        sequences[i]->layout.layers != sequences[0]->layout.layers)
      return P2P_ERROR_ARGUMENT;
    longest = std::max(longest, sequences[i]->length() + tokens[i]);
    total += tokens[i];
  }
  const int most = static_cast<int>(std::min<int64_t>(total, kMaxRows));
  std::vector<int> lengths;
  for (int i = 0; i < count; ++i) lengths.push_back(sequences[i]->length());
  int grown = 0;
  auto undo = [&] { for (int i = 0; i < grown; ++i) sequences[i]->shrink(lengths[static_cast<size_t>(i)]); };
  try {
    for (; grown < count; ++grown)
      if (!sequences[grown]->grow(tokens[grown])) {
        undo();
        return P2P_ERROR_CACHE_FULL;
      }
    if (!workspace_ || workspace_->rows < most || workspace_->longest < longest) {
      const int rows = std::max(most, workspace_ ? workspace_->rows : 1);
      const int room = std::max(longest + longest / 4, 512);  // so that it isn't replaced for every token
      workspace_.reset();
      workspace_ = std::make_shared<Workspace>(*this, rows, room);
    }
    const size_t hidden = static_cast<size_t>(shape.hidden);
    std::vector<Row> rows;
    auto flush = [&] {
      const size_t held = rows.size(), stride = static_cast<size_t>(sizes_.hidden_stride);
      for (size_t r = 0; r < held; ++r, in += hidden) {
        float* row = workspace_->hidden + r * stride;
        std::memcpy(row, in, sizeof(float) * hidden);
        // A row that overflowed leaves NaN in its padding, which must not reach the next row.
        std::fill(row + hidden, row + stride, 0.0f);
      }
      const Step step(*this, *workspace_, std::move(rows));
      team_.run(sequences[0]->layout.layers * kPhasesPerLayer, [&](Team::Member& member) { step.run(member); });
      for (size_t r = 0; r < held; ++r, out += hidden)
        std::memcpy(out, workspace_->hidden + r * stride, sizeof(float) * hidden);
      rows.clear();
    };
    for (int i = 0; i < count; ++i)
      for (int t = 0; t < tokens[i]; ++t) {
        rows.push_back({sequences[i], lengths[static_cast<size_t>(i)] + t});
        if (static_cast<int>(rows.size()) == kMaxRows) flush();
      }
    if (!rows.empty()) flush();
  } catch (const std::bad_alloc&) {
    undo();
    return P2P_ERROR_MEMORY;
  }
  return P2P_OK;
}

}  // namespace p2pinfer
