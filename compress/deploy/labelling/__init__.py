"""Proof with fewer labels: only texts that teacher and student answer differently are labelled."""
