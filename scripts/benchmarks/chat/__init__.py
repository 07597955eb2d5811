"""Pictures of the chat page."""
