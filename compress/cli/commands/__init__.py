"""What users type: one file per command, each with a `main`."""
