"""What a Hugging Face model's files say, wherever they lie: names, headers, configs and the card."""
