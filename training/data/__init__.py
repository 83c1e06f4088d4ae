"""Sequences for training: the record of a sample, readers of published layouts, and the loader.

Nothing here knows a network or a loss.
"""
