// Model::forward: takes room in the caches, cuts the layers where a sequence enters or leaves and the tokens into
// rounds, and runs a Step for each round.
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

// Every layer at which a sequence enters or leaves, ascending. Between two of them the same sequences run.
std::vector<int> cuts_between_layers(Sequence* const* sequences, int count) {
  std::vector<int> cuts;
  for (int i = 0; i < count; ++i) {
    cuts.push_back(sequences[i]->first_layer);
    cuts.push_back(sequences[i]->end_layer());
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

}  // namespace

int Model::forward(Sequence* const* sequences, const int32_t* tokens, int count, const float* in, float* out) {
  const DefaultFloatingPoint here;
  int longest = 0;
  int64_t total = 0;
  for (int i = 0; i < count; ++i) {
    if (tokens[i] < 0 || tokens[i] > INT32_MAX - kPageTokens - sequences[i]->length()) return P2P_ERROR_ARGUMENT;
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
    const size_t hidden = static_cast<size_t>(shape.hidden), stride = static_cast<size_t>(sizes_.hidden_stride);
    const std::vector<int> cuts = cuts_between_layers(sequences, count);
    std::vector<Row> rows;
    std::vector<float*> places;  // of the rows in `out`, which holds every row between two cuts
    std::memcpy(out, in, sizeof(float) * hidden * static_cast<size_t>(total));
    for (size_t cut = 1; cut < cuts.size(); ++cut) {
      const int first = cuts[cut - 1], end = cuts[cut];
      auto flush = [&] {
        for (size_t r = 0; r < rows.size(); ++r) {
          float* row = workspace_->hidden + r * stride;
          std::memcpy(row, places[r], sizeof(float) * hidden);
          // A row that overflowed leaves NaN in its padding, which must not reach the next row.
          std::fill(row + hidden, row + stride, 0.0f);
        }
        const Step step(*this, *workspace_, rows, first, end);
        team_.run((end - first) * kPhasesPerLayer, [&](Team::Member& member) { step.run(member); });
        for (size_t r = 0; r < rows.size(); ++r)
          std::memcpy(places[r], workspace_->hidden + r * stride, sizeof(float) * hidden);
        rows.clear();
        places.clear();
      };
      float* place = out;
      for (int i = 0; i < count; ++i) {
        const bool passes = sequences[i]->passes(first);
        for (int t = 0; t < tokens[i]; ++t, place += hidden) {
          if (!passes) continue;
          rows.push_back({sequences[i], lengths[static_cast<size_t>(i)] + t});
          places.push_back(place);
          if (static_cast<int>(rows.size()) == kMaxRows) flush();
        }
      }
      if (!rows.empty()) flush();
    }
  } catch (const std::bad_alloc&) {
    undo();
    return P2P_ERROR_MEMORY;
  }
  return P2P_OK;
}

}  // namespace p2pinfer
