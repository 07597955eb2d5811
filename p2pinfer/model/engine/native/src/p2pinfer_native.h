/* The C ABI of the native engine: every function that the library exports.
 *
 * Arrays are row-major. Functions that return int give P2P_OK or an error. The caller (engine.py,
 * matrix.py) checks sizes and pointers; the library reports what only it can detect.
 * One thread at a time calls p2p_model_forward of a model. Meanwhile other threads may create, rewind, extend and
 * free sequences that aren't part of the running call. */
#ifndef P2PINFER_NATIVE_H
#define P2PINFER_NATIVE_H

#include <stdint.h>

#if defined(_WIN32)
#define P2P_EXPORT __declspec(dllexport)
#else
#define P2P_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define P2P_ABI_VERSION 4

enum {
  P2P_OK = 0,
  P2P_ERROR_ARGUMENT = 1,   /* out of the range that the engine handles */
  P2P_ERROR_MEMORY = 2,     /* the system has none left; nothing changed */
  P2P_ERROR_CACHE_FULL = 3, /* max_cache_layer_tokens reached; nothing changed */
  P2P_ERROR_WEIGHTS = 4,    /* a weight of -128, or a scale, bias or norm that isn't finite */
  P2P_ERROR_INCOMPLETE = 5  /* forward before every tensor was set */
};

/* Instruction sets, for `isa`. All of them give the same bytes. */
enum { P2P_ISA_PORTABLE = 0, P2P_ISA_AVX2 = 1, P2P_ISA_AVXVNNI = 2, P2P_ISA_AVX512VNNI = 3, P2P_ISA_NEON_DOT = 4 };

enum {
  P2P_LINEAR_Q,
  P2P_LINEAR_K,
  P2P_LINEAR_V,
  P2P_LINEAR_O,
  P2P_LINEAR_GATE,
  P2P_LINEAR_UP,
  P2P_LINEAR_DOWN,
  P2P_LINEARS
};

enum {
  P2P_NORM_ATTENTION,        /* before attention, [hidden]; required */
  P2P_NORM_MLP,              /* before the MLP, [hidden]; required */
  P2P_NORM_AFTER_ATTENTION,  /* on attention's output, before the residual is added, [hidden] */
  P2P_NORM_AFTER_MLP,        /* on the MLP's output, before the residual is added, [hidden] */
  P2P_NORM_QUERY,            /* on each query head, [head_dim] */
  P2P_NORM_KEY,              /* on each key head, [head_dim] */
  P2P_NORMS
};

enum { P2P_ACTIVATION_SILU = 0, P2P_ACTIVATION_GELU_TANH = 1 };

#define P2P_ROTARIES 2 /* rotary embeddings of a model, at most: for full layers and for sliding layers */

typedef struct {
  int32_t layers;
  int32_t hidden;
  int32_t intermediate;
  int32_t heads;
  int32_t kv_heads;        /* divides heads */
  int32_t head_dim;        /* even, at most 512 */
  float epsilon;           /* of all norms */
  float attention_scale;   /* multiplies queries */
  float attention_softcap; /* scores become cap * tanh(score / cap); 0: none */
  int32_t activation;      /* P2P_ACTIVATION_* */
  uint32_t norms;          /* bit per P2P_NORM_* that the layers have */
  int32_t threads;         /* 1 to 256, the calling one included */
  int32_t isa;             /* P2P_ISA_*, or -1 for the fastest */
  int64_t max_cache_layer_tokens; /* limit for all sequences together: tokens times their layers */
} p2p_shape;

typedef struct p2p_model p2p_model;
typedef struct p2p_sequence p2p_sequence;
typedef struct p2p_matrix p2p_matrix;

P2P_EXPORT int p2p_abi_version(void);
P2P_EXPORT int p2p_isa_available(int isa);
P2P_EXPORT int p2p_best_isa(void);

P2P_EXPORT int p2p_model_create(const p2p_shape* shape, p2p_model** model);
P2P_EXPORT void p2p_model_free(p2p_model* model); /* its sequences stay valid until they are freed */
/* weights [outputs][inputs] in -127..127, scales [outputs], biases [outputs] or NULL */
P2P_EXPORT int p2p_model_set_linear(p2p_model* model, int32_t layer, int32_t which, const int8_t* weights,
                                    const float* scales, const float* biases);
P2P_EXPORT int p2p_model_set_norm(p2p_model* model, int32_t layer, int32_t which, const float* weights);
/* window: keys that a query sees, itself included; 0: all of them */
P2P_EXPORT int p2p_model_set_layer(p2p_model* model, int32_t layer, int32_t window, int32_t rotary);
/* frequencies [head_dim / 2]: radians per position. `factor` multiplies cosines and sines. */
P2P_EXPORT int p2p_model_set_rotary(p2p_model* model, int32_t rotary, const float* frequencies, float factor);
P2P_EXPORT int64_t p2p_model_weight_bytes(const p2p_model* model);
P2P_EXPORT int64_t p2p_model_cache_layer_tokens(const p2p_model* model); /* held by all sequences */
P2P_EXPORT int64_t p2p_model_cache_bytes(const p2p_model* model); /* of all pages, of 16 tokens each */

/* Keys and values for layers [first_layer, first_layer + layers) of the model. */
P2P_EXPORT int p2p_sequence_create(p2p_model* model, int32_t first_layer, int32_t layers, p2p_sequence** sequence);
P2P_EXPORT void p2p_sequence_free(p2p_sequence* sequence);
P2P_EXPORT int p2p_sequence_rewind(p2p_sequence* sequence, int32_t length); /* length <= tokens held */
/* Appends the source's tokens from the sequence's own length on, until it holds `length`. Both belong to
 * one model, have the same layers and differ; held <= length <= the source's tokens. After an error nothing has
 * changed. */
P2P_EXPORT int p2p_sequence_extend(p2p_sequence* sequence, const p2p_sequence* source, int32_t length);

/* Appends tokens[i] tokens to sequences[i], i < count. `in` and `out` are [sum of tokens][hidden], in the
 * order of the sequences, and don't overlap. All sequences differ. Each runs through its own layers; those that
 * share a layer read its weights once. After an error none has changed. */
P2P_EXPORT int p2p_model_forward(p2p_model* model, int32_t count, p2p_sequence* const* sequences,
                                 const int32_t* tokens, const float* in, float* out);

/* A single product through the same kernels: y[rows][outputs] = x[rows][inputs] w^T. Thread-safe. */
P2P_EXPORT int p2p_matrix_create(int32_t outputs, int32_t inputs, const int8_t* weights, const float* scales,
                                 int32_t threads, int32_t isa, p2p_matrix** matrix);
P2P_EXPORT void p2p_matrix_free(p2p_matrix* matrix);
P2P_EXPORT int64_t p2p_matrix_bytes(const p2p_matrix* matrix);
P2P_EXPORT int p2p_matrix_multiply(p2p_matrix* matrix, const float* x, int32_t rows, float* y);

#ifdef __cplusplus
}
#endif
#endif
