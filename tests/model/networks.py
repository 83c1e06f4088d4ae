"""Random networks whose every part has a say in their disparity, which varies over the image."""

import torch

from model.config import preset
from model.network import StudentNet, TeacherNet, build


def lively(name: str, seed: int = 0, **overrides: object) -> TeacherNet | StudentNet:
    """Build a preset at random, open the gates that start at zero, and let the disparity heads speak up."""
    torch.manual_seed(seed)
    network = build(preset(name, **overrides), foundation_weights="random", backbone_weights="random")
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if "gate" in parameter_name:
                parameter.fill_(0.5)
            if "disparity_heads" in parameter_name and parameter.ndim > 1:
                parameter.normal_(std=0.5 * parameter[0].numel() ** -0.5)
    return network.eval()
