"""What jobs are made of: OpenAI's batch files, and text files with a prompt."""
