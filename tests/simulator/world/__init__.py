"""Clock, machines and records in one place, and the seams where they replace the real parts."""
