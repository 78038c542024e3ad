"""What tasks are judged by: pure arithmetic on statistics of examples, a file each."""
