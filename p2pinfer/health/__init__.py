"""The public health page: the models of a swarm, their weakest layers, their speed. No program needs it."""
