"""A door to the swarm for everybody: OpenAI's API over HTTP. No other part needs it."""
