"""From a run's weights to the checkpoint that is handed out."""
