// One round of rows through neighbouring layers that all of them pass.
#pragma once

#include <vector>

#include "model.hpp"
#include "workspace.hpp"

namespace p2pinfer {

constexpr int kPhasesPerLayer = 12;  // the most phases that Step::run enters for one layer

struct Row {
  Sequence* sequence;
  int position;
};

// Consecutive rows of one sequence, few enough for one attention item.
struct Tile {
  int first_row;
  int rows;
};

// The rows of one round, through the model's layers [first_layer, end_layer). All members of the team call run().
class Step {
 public:
  Step(const Model& model, Model::Workspace& space, const std::vector<Row>& rows, int first_layer, int end_layer);
  void run(Team::Member& member) const;

 private:
  using Own = Model::Workspace::Own;
  struct Source {
    const float* rows;
    int stride;
    const float* norm;  // nullptr: no norm
  };

  void attention(Team::Member& member, const Layer& layer, int index) const;
  // `index` is the layer's place in the model. Each sequence has its own place for it within a page.
  void append_row(const Layer& layer, int index, int row, int kv_head) const;
  void attend(const Layer& layer, int index, const Tile& tile, int first_head, int heads, Own& own) const;
  void product(Team::Member& member, const Source& source, const PackedMatrix& matrix, float* out, int stride,
               Store store) const;
  void add_to_hidden(Team::Member& member, const Source& source, const PackedMatrix& matrix, const float* norm) const;
  void quantize(const Source& source, int row, Own& own, const QuantizedRows& to, int to_row) const;
  template <class Work>
  void share_rows(Team::Member& member, Work&& work) const;

  const Model& model_;
  const Sizes& sizes_;
  const Kernels& kernels_;
  Model::Workspace& space_;
  const std::vector<Row>& rows_;
  const int first_layer_, end_layer_;
  std::vector<Tile> tiles_;
  bool decoding_;  // every row belongs to a different sequence
};

}  // namespace p2pinfer
