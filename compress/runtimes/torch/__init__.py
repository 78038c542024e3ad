"""Plain PyTorch on the CPU."""
