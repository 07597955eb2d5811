"""llama.cpp, to compare with: streams of equal length, and documents by the thousand."""
