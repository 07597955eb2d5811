"""The client's side: picks a route, keeps the token loop, turns hidden states into text."""
