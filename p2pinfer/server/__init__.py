"""The owner's side: holds a span of layers and runs other people's activations through it."""
