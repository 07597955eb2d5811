// Models, matrices and activations at random, the same on every machine. Part of driver.cpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "p2pinfer_native.h"  // p2p_shape and the numbers that name tensors

namespace {

using Floats = std::vector<float>;

// splitmix64. Draw one number per statement: the order of a call's arguments is the compiler's.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) { state_ = next(); }  // mixed: neighbours have nothing in common

  int between(int least, int most) {
    return least + static_cast<int>(next() % static_cast<uint64_t>(most - least + 1));
  }
  bool once_in(int times) { return between(1, times) == 1; }
  int pick(std::initializer_list<int> choices) {
    return choices.begin()[between(0, static_cast<int>(choices.size()) - 1)];
  }
  // Of magnitude about one, never more than two and a half times that: the sum of three even ones.
  float spread() {
    float total = 0.0f;
    for (int i = 0; i < 3; ++i) total += static_cast<float>(between(-(1 << 20), 1 << 20));
    return total / static_cast<float>(1 << 20);
  }
  float within(float least, float most) {
    return least + (most - least) * (static_cast<float>(between(0, 1 << 20)) / static_cast<float>(1 << 20));
  }
  // A size with a bias for the edges of lanes and groups.
  int size(int most) {
    const int edge = pick({16, 32, 64, 128});
    const int near = edge + between(-1, 1);
    const int any = between(1, most);
    return once_in(3) && near <= most ? near : any;
  }

 private:
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

struct Linear {
  int outputs = 0, inputs = 0;
  std::vector<int8_t> weights;
  Floats scales, biases;  // no biases: none
};

struct Layer {
  int window = 0, rotary = 0;
  Linear linears[P2P_LINEARS];
  Floats norms[P2P_NORMS];
};

struct ModelCase {
  p2p_shape shape{};
  std::vector<Layer> layers;
  Floats frequencies[P2P_ROTARIES];
  float factors[P2P_ROTARIES] = {};
  std::vector<Floats> inputs;  // per sequence: [tokens][hidden]

  int tokens(size_t sequence) const {
    return static_cast<int>(inputs[sequence].size()) / shape.hidden;
  }
};

struct MatrixCase {
  Linear linear;
  int rows = 0;
  Floats input;
};

Linear random_linear(Random& random, int outputs, int inputs, bool biased) {
  Linear linear;
  linear.outputs = outputs;
  linear.inputs = inputs;
  linear.weights.resize(static_cast<size_t>(outputs) * static_cast<size_t>(inputs));
  const bool extreme = random.once_in(4);  // the largest products that there are
  for (int8_t& weight : linear.weights) weight = static_cast<int8_t>(random.between(-127, 127));
  if (extreme)
    for (int8_t& weight : linear.weights) weight = weight < -80 ? -127 : 127;
  for (int i = 0; i < outputs; ++i)
    linear.scales.push_back(random.within(0.5f, 1.5f) / (73.0f * std::sqrt(static_cast<float>(inputs))));
  for (int i = 0; biased && i < outputs; ++i) linear.biases.push_back(0.1f * random.spread());
  return linear;
}

// Rows of activations: mostly ordinary with a few large columns, sometimes at the ends of what floats hold.
Floats random_rows(Random& random, int rows, int width) {
  Floats columns;
  for (int i = 0; i < width; ++i) columns.push_back(random.once_in(5) ? 8.0f : 1.0f);
  Floats values;
  const int kind = random.between(0, 11);
  for (int row = 0; row < rows; ++row) {
    const bool silent = random.once_in(40);
    for (int i = 0; i < width; ++i) {
      const float one = random.spread() * columns[static_cast<size_t>(i)];
      float value = silent ? 0.0f : one;
      if (kind == 0) value = std::fabs(value);
      if (kind == 1) value *= 1e-38f;  // with denormals among them
      if (kind == 2) value *= 1e19f;   // the square isn't finite
      if (kind == 3 && random.once_in(500)) value = one < 0.0f ? -INFINITY : one < 1.0f ? INFINITY : std::nanf("");
      values.push_back(value);
    }
  }
  return values;
}

p2p_shape random_shape(Random& random) {
  p2p_shape shape{};
  shape.layers = random.pick({1, 2, 2, 3});
  shape.hidden = random.size(150);
  shape.intermediate = random.size(200);
  shape.kv_heads = random.between(1, 3);
  shape.heads = shape.kv_heads * random.pick({1, 1, 2, 3, 4, 7, random.between(1, 30)});
  shape.head_dim = 2 * random.pick({1, 3, 8, 16, random.between(1, 20), random.between(1, 70)});
  if (random.once_in(40)) shape.head_dim = 512;
  if (shape.heads * shape.head_dim > 600) shape.heads = shape.kv_heads;
  if (random.once_in(5)) {  // so thin that it can afford long sequences
    shape.hidden = random.between(1, 8);
    shape.intermediate = random.between(1, 8);
    shape.kv_heads = 1;
    shape.heads = random.between(1, 4);
    shape.head_dim = 2 * random.between(1, 4);
  }
  shape.epsilon = random.once_in(8) ? 0.0f : 1e-5f;
  shape.attention_scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  if (random.once_in(4)) shape.attention_scale = random.within(0.0f, 3.0f);
  shape.attention_softcap = random.once_in(3) ? random.within(0.1f, 40.0f) : 0.0f;
  shape.activation = random.pick({P2P_ACTIVATION_SILU, P2P_ACTIVATION_GELU_TANH});
  shape.norms = 3u | static_cast<uint32_t>(random.between(0, 15)) << 2;
  return shape;
}

Layer random_layer(Random& random, const p2p_shape& shape, int rotaries) {
  Layer layer;
  const int far = random.between(1, 60);
  layer.window = random.pick({0, 0, 1, far});
  layer.rotary = random.between(0, rotaries - 1);
  const int queries = shape.heads * shape.head_dim, keys = shape.kv_heads * shape.head_dim;
  const std::pair<int, int> sizes[P2P_LINEARS] = {
      {queries, shape.hidden}, {keys, shape.hidden},         {keys, shape.hidden},        {shape.hidden, queries},
      {shape.intermediate, shape.hidden}, {shape.intermediate, shape.hidden}, {shape.hidden, shape.intermediate}};
  const bool biased = random.once_in(2);
  for (int which = 0; which < P2P_LINEARS; ++which)
    layer.linears[which] = random_linear(random, sizes[which].first, sizes[which].second, biased);
  for (int which = 0; which < P2P_NORMS; ++which) {
    const bool of_head = which == P2P_NORM_QUERY || which == P2P_NORM_KEY;
    for (int i = 0; shape.norms >> which & 1 && i < (of_head ? shape.head_dim : shape.hidden); ++i)
      layer.norms[which].push_back(random.within(-0.5f, 1.5f));
  }
  return layer;
}

ModelCase random_model(Random& random) {
  ModelCase model;
  model.shape = random_shape(random);
  const int rotaries = random.between(1, P2P_ROTARIES);
  for (int rotary = 0; rotary < rotaries; ++rotary) {
    const float ratio = random.within(0.5f, 0.99f);
    float frequency = random.once_in(10) ? 1e-38f : random.within(0.1f, 2.0f);
    for (int i = 0; i < model.shape.head_dim / 2; ++i, frequency *= ratio)
      model.frequencies[rotary].push_back(frequency);
    model.factors[rotary] = random.once_in(2) ? 1.0f : random.within(0.5f, 2.0f);
  }
  int64_t weights = 0;
  for (int index = 0; index < model.shape.layers; ++index) {
    model.layers.push_back(random_layer(random, model.shape, rotaries));
    for (const Linear& linear : model.layers.back().linears) weights += static_cast<int64_t>(linear.weights.size());
  }
  // Small models get long sequences: more than the engine takes in one round, just what it first makes room for.
  constexpr int kRoom = 512;
  const int affordable = static_cast<int>(2000000 / weights);
  const int longest = affordable < 8 ? 8 : affordable > kRoom ? kRoom : affordable;
  const int sequences = random.between(1, 4);
  for (int i = 0; i < sequences; ++i) {
    const int tokens = random.once_in(4) ? longest : random.between(1, longest < 40 ? longest : 40);
    model.inputs.push_back(random_rows(random, tokens, model.shape.hidden));
  }
  return model;
}

MatrixCase random_matrix(Random& random) {
  MatrixCase matrix;
  const int outputs = random.size(400), inputs = random.size(300);
  matrix.linear = random_linear(random, outputs, inputs, false);
  matrix.rows = random.pick({1, 2, 7, 64, 65, random.between(1, 150)});
  matrix.input = random_rows(random, matrix.rows, inputs);
  return matrix;
}

std::string described(const ModelCase& model) {
  const p2p_shape& s = model.shape;
  char text[256];
  std::snprintf(text, sizeof text,
                "model hidden=%d intermediate=%d heads=%d/%d head_dim=%d norms=%x activation=%d softcap=%g", s.hidden,
                s.intermediate, s.heads, s.kv_heads, s.head_dim, s.norms, s.activation,
                static_cast<double>(s.attention_softcap));
  std::string line = text;
  line += " windows=";
  for (const Layer& layer : model.layers) line += std::to_string(layer.window) + ",";
  line.back() = ' ';
  line += "tokens=";
  for (size_t i = 0; i < model.inputs.size(); ++i) line += std::to_string(model.tokens(i)) + ",";
  line.pop_back();
  return line;
}

std::string described(const MatrixCase& matrix) {
  return "matrix outputs=" + std::to_string(matrix.linear.outputs) + " inputs=" + std::to_string(matrix.linear.inputs) +
         " rows=" + std::to_string(matrix.rows);
}

}  // namespace
