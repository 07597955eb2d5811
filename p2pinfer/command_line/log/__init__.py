"""A program's log: lines of one kind are limited by rate, so that no stranger's deeds fill a disk."""
