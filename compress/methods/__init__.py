"""What makes a model smaller: one file per method, and what methods share: importance, training, teachers."""
