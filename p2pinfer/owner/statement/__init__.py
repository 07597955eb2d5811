"""What an owner reads about a month, and what sponsors owe and have paid."""
