"""The readers, each with samples. One is made when it is asked for: some samples take seconds."""
