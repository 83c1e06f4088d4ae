"""A street that a car drives along, drawn from a seed: images with exact depth, poses and motion.

`SyntheticDataset` is the door. Nothing here knows a network or reads a photograph.
"""

from training.data.synthetic.config import Style, SyntheticConfig
from training.data.synthetic.dataset import SyntheticDataset
from training.data.synthetic.frame import Kind, SyntheticFrame

__all__ = ["Kind", "Style", "SyntheticConfig", "SyntheticDataset", "SyntheticFrame"]
