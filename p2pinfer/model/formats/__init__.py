"""The formats that models come in: Hugging Face folders and GGUF files."""
