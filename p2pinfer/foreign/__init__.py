"""What strangers send and several folders read, each by a reader that raises one error."""
