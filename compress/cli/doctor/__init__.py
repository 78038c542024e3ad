"""What of a machine makes runs slow or wrong: facts, and what follows from them."""
