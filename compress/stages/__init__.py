"""Compression methods, one file each. A stage is frozen settings and one verb, `apply(model, context) -> model`."""
