"""What a run makes once and finds again, a file each: its key, how it is made, and how it is read."""
