"""Models: where heads, neurons and layers live in each family, how to cut them, and how to save and strictly load."""
