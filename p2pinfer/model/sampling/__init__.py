"""From scores to text: which token comes next, where a text ends, and what of it can be shown. Pure."""
