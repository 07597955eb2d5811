"""What several benchmarks use: flags, reports, prompts, and processes on any host."""
