"""The formats of published models: Hugging Face folders and GGUF files. `lookup` chooses one."""
