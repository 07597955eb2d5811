"""Who may use a gateway, and how much: keys, their limits, and what a web page from elsewhere may not do."""
