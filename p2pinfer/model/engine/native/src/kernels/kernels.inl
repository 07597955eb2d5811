// The kernels, written once over sixteen lanes. Each file of isa/ includes this inside its own namespace,
// after its lanes. kernels.hpp says what each function promises.
#include "elementary.inl"
#include "matmul.inl"
#include "rows.inl"
#include "attention.inl"
