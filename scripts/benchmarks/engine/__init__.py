"""Benchmarks of one machine: start and memory, accuracy, kernels."""
