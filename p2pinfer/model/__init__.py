"""Models as INT8 layers: converting, storing, loading and running them."""
