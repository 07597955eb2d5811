"""How models call tools: the formats they write, grammars that hold them to it, and a reader of what they wrote."""
