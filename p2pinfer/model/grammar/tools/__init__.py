"""How models call tools: their formats, grammars that hold them to one, and a reader of what they wrote."""
