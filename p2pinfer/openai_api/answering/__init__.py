"""From the pieces of a text to the answers that OpenAI's clients read."""
