"""Tensor arithmetic: pure functions, no modules, no files, no logging."""
