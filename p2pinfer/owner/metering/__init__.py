"""What the machine draws, and how that is held below a cap."""
