"""Which checkpoints are served: discovery in the models' folder, the registry, and one served version."""
