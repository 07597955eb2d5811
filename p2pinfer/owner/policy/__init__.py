"""The owner's rules: the file that holds them, and whether the machine may work now."""
