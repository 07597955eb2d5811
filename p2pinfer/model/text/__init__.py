"""A model's own words: its tokenizer and its chat template, read from the files of a store."""
