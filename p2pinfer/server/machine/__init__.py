"""What a server asks of its operating system: memory, processors, a key file of its own."""
