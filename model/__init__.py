"""The network, its files and its images: all that the service and training share.

Names are loaded on first use, because a service that runs without torch reads checkpoints' descriptions too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.checkpoint import load_checkpoint as load_checkpoint
    from model.checkpoint import save_checkpoint as save_checkpoint
    from model.config import FoundationConfig as FoundationConfig
    from model.config import ModelConfig as ModelConfig
    from model.config import preset as preset
    from model.decoder import DepthOutput as DepthOutput
    from model.metadata import CheckpointError as CheckpointError
    from model.metadata import CheckpointMetadata as CheckpointMetadata
    from model.metadata import DepthScale as DepthScale
    from model.metadata import Provenance as Provenance
    from model.metadata import read_metadata as read_metadata
    from model.network import StudentNet as StudentNet
    from model.network import TeacherNet as TeacherNet
    from model.network import build as build
    from model.predictor import Predictor as Predictor

_HOME = {
    "CheckpointError": "metadata",
    "CheckpointMetadata": "metadata",
    "DepthOutput": "decoder",
    "DepthScale": "metadata",
    "FoundationConfig": "config",
    "ModelConfig": "config",
    "Predictor": "predictor",
    "Provenance": "metadata",
    "StudentNet": "network",
    "TeacherNet": "network",
    "build": "network",
    "load_checkpoint": "checkpoint",
    "preset": "config",
    "read_metadata": "metadata",
    "save_checkpoint": "checkpoint",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'model' has no attribute {name!r}")
    try:
        return getattr(import_module(f"model.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{name} needs {error.name}: pip install 'vfm-depth[torch]'") from error
