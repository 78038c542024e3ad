"""What a run exported in other forms, each compared with what was judged."""
