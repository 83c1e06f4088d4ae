"""Training: unlabelled video in, checkpoints out, and the measure of what they are worth."""

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ModuleNotFoundError("training needs torch: pip install 'vfm-depth[training]'")
