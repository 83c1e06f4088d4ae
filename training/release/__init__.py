"""From a run's weights to the checkpoint that is handed out: its metres, lens, licence and provenance."""
