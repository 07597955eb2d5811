// The buffers of one round through the layers.
#pragma once

#include <vector>

#include "model.hpp"

namespace p2pinfer {

constexpr int kQueriesPerItem = 24;  // queries of one attention item in prefill: whole tiles of kQueryTile

// The padding of every row is zero when a round begins.
struct Model::Workspace {
  Workspace(const Model& model, int rows, int longest);

  int rows, longest;
  Arena arena;
  float *hidden, *attention_in, *attention_out, *gated, *update;
  QuantizedRows shared;
  float *cos[P2P_ROTARIES], *sin[P2P_ROTARIES];
  struct Own {  // scratch of one member
    float* normalized;
    QuantizedRows single;
    float* queries;
    float* scores;
  };
  std::vector<Own> own;

 private:
  static size_t bytes(const Model& model, int rows, int longest);
};

}  // namespace p2pinfer
