"""Telling experiment trackers of a run, through their own clients: one file each. The ledger does not depend on it."""
