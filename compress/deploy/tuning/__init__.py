"""Finding out how an export is served best on this machine, by measuring in turns on a sample of the user's inputs."""
