"""Where examples come from: one file per source, each a frozen dataclass with one verb, `load() -> Splits`."""
