"""Measures the speed that is left with delays, slow uplinks and loss, each figure beside its bound."""
