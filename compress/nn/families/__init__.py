"""One file per family: a list `FAMILIES` of tables. Found by itself."""
