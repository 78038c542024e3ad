"""Neural networks: layers, tensor arithmetic, families, cutting, structure, strict save and load."""
