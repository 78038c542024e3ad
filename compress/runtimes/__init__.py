"""What runs a model for the user. A runtime opens an artifact's folder and maps a batch to logits."""
