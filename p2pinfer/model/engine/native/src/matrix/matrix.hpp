// One matrix product by itself: the client's head.
#pragma once

#include <cstdint>

#include "../kernels/kernels.hpp"
#include "../system/memory.hpp"
#include "../system/team.hpp"
#include "packed_matrix.hpp"

namespace p2pinfer {

class Matrix {
 public:
  Matrix(const Kernels& kernels, int outputs, int inputs, int threads);
  bool fill(const int8_t* weights, const float* scales);
  // y[rows][outputs] = x[rows][inputs] w^T. Safe to call from several threads.
  void multiply(const float* x, int rows, float* y);
  size_t bytes() const { return arena_.bytes(); }

 private:
  const Kernels& kernels_;
  int outputs_;
  int inputs_;
  Arena arena_;
  PackedMatrix packed_;
  Team team_;
};

}  // namespace p2pinfer
