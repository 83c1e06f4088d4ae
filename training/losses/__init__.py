"""One small file for each loss: its formula, its source, its configuration.

Every loss is one number for each sample, so that a batch's loss is a mean over samples, and several processes
with equal shares compute what one would. Nothing here knows data sets, networks or the trainer.
"""
