"""What goes wrong, in the form in which OpenAI's clients expect it."""
