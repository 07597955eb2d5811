"""Signals about the car, the machine and the home: their values, meaning and sources."""
