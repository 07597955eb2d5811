"""What may be sent in place of valid bytes. Each input has a number, by which it can be made again."""
