"""What callers pass to from_pretrained(), generate() and forward(): honoured exactly, or refused by name."""
