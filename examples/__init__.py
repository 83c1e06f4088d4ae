"""Programs that use the service from somewhere else, to be read, run and taken apart."""
