"""A plain folder that Transformers, sentence-transformers and Candle load."""
