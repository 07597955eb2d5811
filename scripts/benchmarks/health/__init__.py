"""The health page under load, and the pictures of it in the documentation."""
