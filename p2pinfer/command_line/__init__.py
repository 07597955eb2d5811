"""What all programs share on a command line: flags, help, output, tables, exit statuses.

It is read before anything is installed (`scripts/quickstart --help`), so its modules import other packages
only inside of functions.
"""
