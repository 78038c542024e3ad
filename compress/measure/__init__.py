"""Measured facts: proof by reload, scores, latency in turns, and the statistics that compare two evaluations."""
