"""The published ways of judging depth, each a record of what counts, and readers of what they judge.

Nothing here knows a network.
"""
