"""What is known of every picture of a run: by its caller, and by its network."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from model.view import View
from service.codec import DecodedImage
from service.codec.measure import Knowledge, Observed, observe
from service.codec.scale import KnownDepths
from service.codec.sparse import read_sparse_depth
from service.contract.request import SparseDepth


@dataclass(frozen=True, kw_only=True)
class Known:
    """The same for each picture of a run."""

    view: View
    """How the network sees pictures, and what its outputs mean."""
    knowledge: Knowledge = field(default_factory=Knowledge)
    sparse_depth: Path | None = None
    """A photograph's depth with holes, or a folder of such files by the photographs' names."""

    def points_of(self, photograph: Path, image: DecodedImage, max_pixels: int) -> KnownDepths | None:
        """Return where depth is known in a photograph.

        Raises:
            InvalidArgument: The file does not fit it; likewise `ImageTooLarge` and OSError.
        """
        if self.sparse_depth is None or not isinstance(self.knowledge.anchor, SparseDepth):
            return None
        path = self.sparse_depth
        if path.is_dir():
            path /= f"{photograph.stem}.png"
        sparse = replace(self.knowledge.anchor, png=path.read_bytes())
        return read_sparse_depth(sparse, image.height, image.width, max_pixels=max_pixels)

    def observe(self, image: DecodedImage, output: Any, size: tuple[int, int]) -> Observed:
        """Read the network's output for a picture, for a map of this height and width.

        Raises:
            InvalidArgument: The picture is none of the named camera's.
        """
        return observe(self.view, output, self.knowledge, image, size)
