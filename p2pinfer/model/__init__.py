"""Models as INT8 layers: how they are converted, stored, loaded and run."""
