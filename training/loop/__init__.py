"""The training loop: the trainer, its optimizer, state, log, plan and validation."""
