"""Depth networks of others: a model file with a description beside it, their presets, and their runtimes."""

from model.described.description import (
    SUFFIX,
    DescriptionError,
    NetworkDescription,
    description_path,
    network_files,
    network_sha256,
    parse_description,
    presets,
    read_description,
)
from model.described.network import DescribedNetwork, view_of
from model.described.sizes import Frame, frame_of

__all__ = [
    "SUFFIX",
    "DescribedNetwork",
    "DescriptionError",
    "Frame",
    "NetworkDescription",
    "description_path",
    "frame_of",
    "network_files",
    "network_sha256",
    "parse_description",
    "presets",
    "read_description",
    "view_of",
]
