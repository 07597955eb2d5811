// The vector work of the engine: a table of functions with one implementation per instruction set.
//
// Exactness: every implementation performs the same IEEE operations in the same order, so all of them return
// the same bytes. Integer sums are exact in any order. Floating point sums run over 16 lanes, which are folded
// 8, 4, 2, 1. Multiply-adds are fused exactly where the code says fma.
#pragma once

#include <cstddef>
#include <cstdint>

namespace p2pinfer {

constexpr int kLanes = 16;       // floats handled together, on every instruction set
constexpr int kGroup = 64;       // activations that share one rotation and one scale
constexpr int kPageTokens = 16;  // tokens of a cache page; one lane per key

constexpr int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// A weight matrix [outputs][inputs], packed as [block of 16 outputs][4 inputs][16 outputs][4 inputs],
// inputs padded with zeros to whole groups, outputs to whole blocks (of scale and bias zero).
struct MatrixView {
  const uint8_t* packed;  // w + 128 for instruction sets with unsigned weights, else w
  const float* scales;    // per output
  const float* biases;    // per output
  int groups;             // of kGroup inputs
};

// Rows of activations, quantized. Row r starts at values + r * groups * kGroup and scales + r * groups.
struct QuantizedRows {
  int8_t* values;
  float* scales;
  int32_t* corrections;  // -128 * sum(values of the group): undoes the offset of unsigned weights
  int groups;
  int whole_groups;      // of inputs: without the last one if it is padded
};

// The use of a product y = x w^T + bias.
enum class Store {
  kOverwrite,  // out = y
  kAdd,        // out += y
  kGateSilu,   // blocks alternate gate and up: out = silu(gate) * up
  kGateGelu,   // the same with the tanh form of gelu
};

// The keys and values of one head of one layer: keys are [head_dim][16 tokens] per page, values
// [16 tokens][padded_head_dim].
struct KeyValueView {
  const float* const* pages;
  size_t key_offset;    // in floats, from a page's start
  size_t value_offset;
  int head_dim;
  int padded_head_dim;  // to whole lanes
};

struct AttentionQuery {
  const float* query;  // [padded_head_dim], rotated and scaled
  float* out;          // [head_dim]
  int first_key;       // attends to keys [first_key, end_key)
  int end_key;
};

struct Kernels {
  bool unsigned_weights;

  // out[rows][stride], columns of blocks [first_block, end_block). Gated stores need even blocks.
  void (*matmul)(const MatrixView& weights, const QuantizedRows& x, int rows, int first_block, int end_block,
                 float* out, size_t stride, Store store);

  // Fills a row from x, which is padded with zeros: rotates whole groups (p2pinfer/hadamard.py), then
  // rounds half to even to [-127, 127] with one scale per group.
  void (*quantize)(const float* x, const QuantizedRows& to, int row);

  // out = x / sqrt(mean(x^2) + epsilon) * weight; `padded` is size rounded up to lanes, with zeros.
  void (*normalize)(const float* x, const float* weight, int size, int padded, float epsilon, float* out);

  // One head: optional norm, rotation by (cos, sin)[head_dim / 2], scale. out is [padded_head_dim].
  void (*prepare_head)(const float* x, const float* norm, int head_dim, float epsilon, const float* cos,
                       const float* sin, float scale, float* out);

  // Softmax attention of each query, in the order of key positions. softcap 0 means none.
  // scratch holds attention_scratch_floats(longest end_key).
  void (*attend)(const KeyValueView& cache, float softcap, const AttentionQuery* queries, int count,
                 float* scratch);
};

constexpr int kMaxHeadDim = 512;
constexpr int kQueryTile = 6;  // queries that share loads of keys and values

inline size_t attention_scratch_floats(int end_key) {
  return static_cast<size_t>(kQueryTile) * (static_cast<size_t>(round_up(end_key, kPageTokens)) + 2 * kPageTokens);
}

// Values of the C ABI; see p2pinfer_native.h.
enum Isa { kPortable = 0, kAvx2 = 1, kAvxVnni = 2, kAvx512Vnni = 3, kNeonDot = 4 };

// The table, or nullptr if this build or this processor lacks the instructions.
const Kernels* kernels_for(int isa);
int best_isa();

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512VnniKernels;
#if (defined(__clang__) && __clang_major__ >= 12) || (!defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 11)
#define P2PINFER_HAS_AVXVNNI 1
extern const Kernels kAvxVnniKernels;
#endif
#endif
#if defined(__aarch64__) && defined(__linux__)
#define P2PINFER_HAS_NEON_DOT 1
extern const Kernels kNeonDotKernels;
#endif

}  // namespace p2pinfer
