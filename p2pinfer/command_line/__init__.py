"""What all programs share on a command line: flags, output, tables."""
