"""Many jobs of one command: checked before the first starts, launched, recorded, listed at the end."""
