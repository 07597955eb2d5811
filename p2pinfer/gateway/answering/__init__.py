"""How answers are told while they are made: events, and notes on the route."""
