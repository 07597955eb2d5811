"""The engine in C++: exact to the bit on every instruction set."""
