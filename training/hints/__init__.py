"""Depth of one frame from several views of known poses, without a network: the classical way, for labels."""
