"""What runs when: the thread that computes, its batches, and its share of the time."""
