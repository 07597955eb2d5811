"""What travels between peers: openings, steps, receipts and refusals, over pinned channels and lanes."""
