"""OpenAI's API as data: what requests mean to a model, and how answers read. Without HTTP."""
