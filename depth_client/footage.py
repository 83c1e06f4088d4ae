"""The reader of videos, and the order of files, that the client shares with training and `depth-predict`.

The client's own wheel has the modules of model/footage in this place (pyproject.toml), and no package named
`model`.
"""

from typing import TYPE_CHECKING, Any

from model import footage
from model.footage import natural_key as natural_key

if TYPE_CHECKING:
    from model.footage import VideoError as VideoError
    from model.footage import VideoReader as VideoReader


def __getattr__(name: str) -> Any:
    return getattr(footage, name)
