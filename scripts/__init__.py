"""The developer's tools: each program of this folder says with --help what it does."""
