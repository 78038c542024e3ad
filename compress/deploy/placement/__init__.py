"""Which pieces of a model go on which device: what fits is searched exactly for what is fastest."""
