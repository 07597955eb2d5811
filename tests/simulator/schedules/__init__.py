"""What a seed stands for: servers, texts and faults."""
