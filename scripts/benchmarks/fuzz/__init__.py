"""Every reader of foreign bytes, fed with millions of spoiled inputs by several processes."""
