"""The energy that the work takes, and how the machine's power is held below a cap."""
