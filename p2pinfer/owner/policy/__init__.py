"""The owner's rules: the file that holds them, and what they mean for what is known now."""
