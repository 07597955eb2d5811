// The C ABI over the classes. No exception leaves it, and it checks every size that it can.
#include <cmath>
#include <memory>

#include "matrix/matrix.hpp"
#include "model/model.hpp"
#include "p2pinfer_native.h"

using namespace p2pinfer;

// A sequence keeps its model alive, so handles may be freed in any order.
struct p2p_model {
  std::shared_ptr<Model> model;
};
struct p2p_sequence {
  p2p_sequence(std::shared_ptr<Model> of, int first, int layers)
      : model(std::move(of)), sequence(model->layout(layers), first, model->budget()) {}
  std::shared_ptr<Model> model;
  Sequence sequence;
};
struct p2p_matrix : Matrix {
  using Matrix::Matrix;
};

namespace {

constexpr int kMostElements = 1 << 24;  // of one dimension: a product of two fits 64 bits, a row fits 32

bool within(int64_t value, int64_t least, int64_t most) { return least <= value && value <= most; }

bool usable(const p2p_shape& s) {
  return within(s.layers, 1, 4096) && within(s.hidden, 1, kMostElements) && within(s.intermediate, 1, kMostElements) &&
         within(s.heads, 1, 4096) && within(s.kv_heads, 1, s.heads) && s.heads % s.kv_heads == 0 &&
         within(s.head_dim, 2, kMaxHeadDim) && s.head_dim % 2 == 0 && std::isfinite(s.epsilon) && s.epsilon >= 0 &&
         std::isfinite(s.attention_scale) && std::isfinite(s.attention_softcap) && s.attention_softcap >= 0 &&
         within(s.activation, P2P_ACTIVATION_SILU, P2P_ACTIVATION_GELU_TANH) && s.norms < (1u << P2P_NORMS) &&
         (s.norms & 3u) == 3u && within(s.threads, 1, 256) && s.max_cache_layer_tokens >= 0;
}

const Kernels* kernels_of(int isa) { return kernels_for(isa < 0 ? best_isa() : isa); }

// The C++ runtime throws when memory or threads run out. A caller in C gets an error code.
template <class Work>
int guarded(Work&& work) {
  try {
    return work();
  } catch (...) {
    return P2P_ERROR_MEMORY;
  }
}

}  // namespace

extern "C" {

int p2p_abi_version(void) { return P2P_ABI_VERSION; }
int p2p_isa_available(int isa) { return kernels_for(isa) != nullptr; }
int p2p_best_isa(void) { return best_isa(); }

int p2p_model_create(const p2p_shape* shape, p2p_model** model) {
  const Kernels* kernels = kernels_of(shape->isa);
  if (!usable(*shape) || kernels == nullptr) return P2P_ERROR_ARGUMENT;
  return guarded([&] {
    *model = new p2p_model{std::make_shared<Model>(*shape, *kernels)};
    return P2P_OK;
  });
}

void p2p_model_free(p2p_model* model) { delete model; }

int p2p_model_set_linear(p2p_model* model, int32_t layer, int32_t which, const int8_t* weights, const float* scales,
                         const float* biases) {
  if (!within(layer, 0, model->model->shape.layers - 1)) return P2P_ERROR_ARGUMENT;
  return model->model->set_linear(layer, which, weights, scales, biases);
}

int p2p_model_set_norm(p2p_model* model, int32_t layer, int32_t which, const float* weights) {
  if (!within(layer, 0, model->model->shape.layers - 1)) return P2P_ERROR_ARGUMENT;
  return model->model->set_norm(layer, which, weights);
}

int p2p_model_set_layer(p2p_model* model, int32_t layer, int32_t window, int32_t rotary) {
  if (!within(layer, 0, model->model->shape.layers - 1) || window < 0 || !within(rotary, 0, P2P_ROTARIES - 1))
    return P2P_ERROR_ARGUMENT;
  model->model->set_layer(layer, window, rotary);
  return P2P_OK;
}

int p2p_model_set_rotary(p2p_model* model, int32_t rotary, const float* frequencies, float factor) {
  if (!within(rotary, 0, P2P_ROTARIES - 1)) return P2P_ERROR_ARGUMENT;
  return guarded([&] {
    model->model->set_rotary(rotary, frequencies, factor);
    return P2P_OK;
  });
}

int64_t p2p_model_weight_bytes(const p2p_model* model) { return static_cast<int64_t>(model->model->weight_bytes()); }
int64_t p2p_model_cache_layer_tokens(const p2p_model* model) { return model->model->budget().layer_tokens(); }
int64_t p2p_model_cache_bytes(const p2p_model* model) { return model->model->budget().bytes; }

int p2p_sequence_create(p2p_model* model, int32_t first_layer, int32_t layers, p2p_sequence** sequence) {
  if (!within(layers, 1, model->model->shape.layers) || !within(first_layer, 0, model->model->shape.layers - layers))
    return P2P_ERROR_ARGUMENT;
  return guarded([&] {
    *sequence = new p2p_sequence(model->model, first_layer, layers);
    return P2P_OK;
  });
}

void p2p_sequence_free(p2p_sequence* sequence) { delete sequence; }

int p2p_sequence_rewind(p2p_sequence* sequence, int32_t length) {
  if (!within(length, 0, sequence->sequence.length())) return P2P_ERROR_ARGUMENT;
  sequence->sequence.shrink(length);
  return P2P_OK;
}

int p2p_sequence_extend(p2p_sequence* sequence, const p2p_sequence* source, int32_t length) {
  Sequence& to = sequence->sequence;
  const Sequence& from = source->sequence;
  if (sequence == source || sequence->model != source->model || to.first_layer != from.first_layer ||
      to.layout.layers != from.layout.layers || !within(length, to.length(), from.length()))
    return P2P_ERROR_ARGUMENT;
  return guarded([&] { return to.extend(from, length) ? P2P_OK : P2P_ERROR_CACHE_FULL; });
}

int p2p_model_forward(p2p_model* model, int32_t count, p2p_sequence* const* sequences, const int32_t* tokens,
                      const float* in, float* out) {
  if (!model->model->complete()) return P2P_ERROR_INCOMPLETE;
  return guarded([&] {
    std::vector<Sequence*> plain;
    for (int32_t i = 0; i < count; ++i) plain.push_back(&sequences[i]->sequence);
    return model->model->forward(plain.data(), tokens, count, in, out);
  });
}

int p2p_matrix_create(int32_t outputs, int32_t inputs, const int8_t* weights, const float* scales, int32_t threads,
                      int32_t isa, p2p_matrix** matrix) {
  const Kernels* kernels = kernels_of(isa);
  if (!within(outputs, 1, kMostElements) || !within(inputs, 1, kMostElements) || !within(threads, 1, 256) || !kernels)
    return P2P_ERROR_ARGUMENT;
  return guarded([&] {
    auto made = std::make_unique<p2p_matrix>(*kernels, outputs, inputs, threads);
    if (!made->fill(weights, scales)) return P2P_ERROR_WEIGHTS;
    *matrix = made.release();
    return P2P_OK;
  });
}

void p2p_matrix_free(p2p_matrix* matrix) { delete matrix; }
int64_t p2p_matrix_bytes(const p2p_matrix* matrix) { return static_cast<int64_t>(matrix->bytes()); }

int p2p_matrix_multiply(p2p_matrix* matrix, const float* x, int32_t rows, float* y) {
  return guarded([&] {
    matrix->multiply(x, rows, y);
    return P2P_OK;
  });
}

}  // extern "C"
