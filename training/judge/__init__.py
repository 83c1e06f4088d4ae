"""What a checkpoint is worth: protocols, metrics, alignment and reports; the judge knows no learner."""
