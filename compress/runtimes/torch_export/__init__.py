"""PyTorch's own package of an exported program, which needs torch and nothing else."""
