"""What a client believes of servers: from what they did to it, never from what they say of themselves."""
