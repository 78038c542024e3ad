"""Where the teacher comes from, one file each."""
