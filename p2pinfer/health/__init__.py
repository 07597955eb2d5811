"""The public health page: models of a swarm, their weakest layers, their speed. No other part needs it."""
