"""What a model's pieces take on each device and between them, and whether a placement takes what was predicted."""
