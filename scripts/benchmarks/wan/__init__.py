"""What delays, slow uplinks and loss leave of the speed, each figure beside its bound."""
