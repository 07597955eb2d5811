"""What an identity costs: some seconds of memory-hard work, once, so that hundreds of them aren't free."""
