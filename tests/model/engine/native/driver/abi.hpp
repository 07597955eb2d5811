// The engine's C ABI in C++, and all of the driver that calls it. Part of driver.cpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "cases.hpp"
#include "p2pinfer_native.h"

namespace {

void must(int code, const char* call) {
  if (code == P2P_OK) return;
  std::printf("%s failed with code %d\n", call, code);
  std::fflush(stdout);
  std::abort();
}

struct Free {
  void operator()(p2p_model* model) const { p2p_model_free(model); }
  void operator()(p2p_sequence* sequence) const { p2p_sequence_free(sequence); }
  void operator()(p2p_matrix* matrix) const { p2p_matrix_free(matrix); }
};

bool same_version() { return p2p_abi_version() == P2P_ABI_VERSION; }

const char* const kIsaNames[] = {"portable", "avx2", "avxvnni", "avx512vnni", "neon_dot"};

// P2P_ISA_*, or -1 if this build or this processor lacks it.
int available_isa(const std::string& name) {
  int isa = 0;
  for (const char* const known : kIsaNames) {
    if (name == known) return p2p_isa_available(isa) ? isa : -1;
    ++isa;
  }
  return -1;
}

// Which of the NaNs comes out is the processor's choice, and no promise of the engine's.
void make_nans_equal(Floats& values) {
  for (float& value : values)
    if (std::isnan(value)) value = std::nanf("");
}

class Sequence {
 public:
  Sequence(p2p_model* model, int first_layer, int layers) {
    p2p_sequence* made = nullptr;
    must(p2p_sequence_create(model, first_layer, layers, &made), "p2p_sequence_create");
    handle_.reset(made);
  }
  void rewind(int length) {
    must(p2p_sequence_rewind(handle_.get(), length), "p2p_sequence_rewind");
    length_ = length;
  }
  void extend(const Sequence& source, int length) {
    must(p2p_sequence_extend(handle_.get(), source.handle_.get(), length), "p2p_sequence_extend");
    length_ = length;
  }
  int length() const { return length_; }

 private:
  friend class Engine;
  std::unique_ptr<p2p_sequence, Free> handle_;
  int length_ = 0;
};

class Engine {
 public:
  struct Chunk {
    Sequence* sequence;
    const float* tokens;
    int count;
  };

  Engine(const ModelCase& of, int isa, int threads, int64_t max_cache_layer_tokens) : hidden_(of.shape.hidden) {
    p2p_shape shape = of.shape;
    shape.isa = isa;
    shape.threads = threads;
    shape.max_cache_layer_tokens = max_cache_layer_tokens;
    p2p_model* made = nullptr;
    must(p2p_model_create(&shape, &made), "p2p_model_create");
    handle_.reset(made);
    for (int rotary = 0; rotary < P2P_ROTARIES; ++rotary)
      if (!of.frequencies[rotary].empty())
        must(p2p_model_set_rotary(made, rotary, of.frequencies[rotary].data(), of.factors[rotary]), "set_rotary");
    for (int index = 0; index < shape.layers; ++index) set_layer(index, of.layers[static_cast<size_t>(index)]);
  }

  Sequence open(int first_layer, int layers) const { return Sequence(handle_.get(), first_layer, layers); }

  // The outputs of all chunks, one after the other.
  Floats forward(const std::vector<Chunk>& chunks) {
    Floats out;
    must(try_forward(chunks, out), "p2p_model_forward");
    return out;
  }

  bool has_room_for(const Chunk& chunk) {
    Floats out;
    const int code = try_forward({chunk}, out);
    if (code != P2P_ERROR_CACHE_FULL) must(code, "p2p_model_forward");
    return code == P2P_OK;
  }

  int64_t cache_layer_tokens() const { return p2p_model_cache_layer_tokens(handle_.get()); }
  int64_t cache_bytes() const { return p2p_model_cache_bytes(handle_.get()); }

 private:
  void set_layer(int index, const Layer& layer) {
    must(p2p_model_set_layer(handle_.get(), index, layer.window, layer.rotary), "p2p_model_set_layer");
    for (int which = 0; which < P2P_LINEARS; ++which) {
      const Linear& linear = layer.linears[which];
      must(p2p_model_set_linear(handle_.get(), index, which, linear.weights.data(), linear.scales.data(),
                                linear.biases.empty() ? nullptr : linear.biases.data()),
           "p2p_model_set_linear");
    }
    for (int which = 0; which < P2P_NORMS; ++which)
      if (!layer.norms[which].empty())
        must(p2p_model_set_norm(handle_.get(), index, which, layer.norms[which].data()), "p2p_model_set_norm");
  }

  int try_forward(const std::vector<Chunk>& chunks, Floats& out) {
    std::vector<p2p_sequence*> sequences;
    std::vector<int32_t> counts;
    Floats in;
    for (const Chunk& chunk : chunks) {
      sequences.push_back(chunk.sequence->handle_.get());
      counts.push_back(chunk.count);
      in.insert(in.end(), chunk.tokens, chunk.tokens + static_cast<ptrdiff_t>(chunk.count) * hidden_);
    }
    out.assign(in.size(), 0.0f);
    const int code = p2p_model_forward(handle_.get(), static_cast<int32_t>(chunks.size()), sequences.data(),
                                       counts.data(), in.data(), out.data());
    if (code == P2P_OK)
      for (const Chunk& chunk : chunks) chunk.sequence->length_ += chunk.count;
    make_nans_equal(out);
    return code;
  }

  std::unique_ptr<p2p_model, Free> handle_;
  int hidden_;
};

class Matrix {
 public:
  Matrix(const Linear& linear, int isa, int threads) : inputs_(linear.inputs), outputs_(linear.outputs) {
    p2p_matrix* made = nullptr;
    must(p2p_matrix_create(linear.outputs, linear.inputs, linear.weights.data(), linear.scales.data(), threads, isa,
                           &made),
         "p2p_matrix_create");
    handle_.reset(made);
  }
  Floats multiply(const Floats& x, int first_row, int rows) {
    const float* from = x.data() + static_cast<ptrdiff_t>(first_row) * inputs_;
    const Floats part(from, from + static_cast<ptrdiff_t>(rows) * inputs_);
    Floats y(static_cast<size_t>(rows) * static_cast<size_t>(outputs_));
    must(p2p_matrix_multiply(handle_.get(), part.data(), rows, y.data()), "p2p_matrix_multiply");
    make_nans_equal(y);
    return y;
  }

 private:
  std::unique_ptr<p2p_matrix, Free> handle_;
  int inputs_, outputs_;
};

}  // namespace
