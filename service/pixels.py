"""The budget of decoded pixels: each image reserves its memory here before it is decoded.

All of it runs in the codec's threads.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypeVar

from model.view import View
from service.codec import DecodedImage, decode_image
from service.codec.encode import EncodeOptions, check_size
from service.codec.measure import Knowledge
from service.codec.scale import KnownDepths
from service.codec.sparse import read_sparse_depth
from service.contract.errors import ImageTooLarge, InvalidArgument, InvalidImage
from service.contract.request import DepthRequest, SparseDepth
from service.scheduling.budget import ByteBudget, Share
from service.settings import Settings
from service.telemetry.metrics import Metrics

ResultT = TypeVar("ResultT")

_FINISHING_BYTES = 50
"""What measuring and encoding hold for each pixel of depth; a point cloud holds the most."""
_SEEN_BYTES = 36
"""Three floats for each pixel of a described network's input, three times over while it is made."""


class Pixels:
    """One account for all requests.

    Args:
        settings: Say how many bytes there are, and what sizes are allowed.
        metrics: Where they are shown.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        # The largest image that is allowed may need more than half of it.
        self._budget = ByteBudget(
            settings.max_pixels_bytes, "is decoded", setting="DEPTH_MAX_PIXELS_BYTES", whole_first=True
        )
        metrics.held_pixel_bytes.set_function(lambda: self._budget.held_bytes)
        metrics.held_pixel_limit_bytes.set(settings.max_pixels_bytes)

    def share(self, request: DepthRequest) -> AbstractContextManager[Share]:
        """Open the share of what a request keeps from one step to the next."""
        return self._budget.share(request.transport, request.caller)

    def decode(self, request: DepthRequest, view: View, held: Share, knowledge: Knowledge) -> DecodedImage:
        """Decode a request's photograph.

        Args:
            request: The request.
            view: How the network sees it.
            held: Takes what is kept of it.
            knowledge: What the caller knows of the scene.

        Raises:
            RequestError: It is no photograph, it or its depth is too large, or what is known does not fit it.
            Overloaded: There is no room for its pixels.
        """
        camera = knowledge.camera
        described = None if view.fractions else view
        copies = 2 if camera is not None and camera.distorts else 1
        with self.share(request) as working:

            def before(height: int, width: int, most_bytes: int) -> None:
                if request.size == "input":
                    self._check_depth(request, height, width)
                working.resize(
                    copies * most_bytes + (0 if described is None else _seen_bytes(view, height, width))
                )

            image = decode_image(
                request.image,
                height=view.usual_size[0],
                width=view.usual_size[1],
                max_pixels=self._settings.max_image_pixels,
                keep_rgb=request.format.spec.content == "points" and request.size == "input",
                scaled=self._settings.scaled_decode,
                before=before,
                camera=camera,
                view=described,
            )
            if request.needs_lens and camera is None and (request.lens or image.lens) is None:
                raise InvalidArgument(
                    f"{request.needs_lens} needs a lens: intrinsics, a field of view, a named camera, or a "
                    "photograph whose EXIF data names its lens"
                )
            if isinstance(request.anchor, SparseDepth):
                image = replace(image, known=self._sparse_depth(request.anchor, image))
            held.overdraw(image.nbytes)
            return image

    def finish(self, request: DepthRequest, image: DecodedImage, work: Callable[[], ResultT]) -> ResultT:
        """Measure and encode, which is not refused: a device has worked for it, and threads bound it."""
        pixels = image.pixels[..., 0].size if request.size == "model" else image.height * image.width
        with self.share(request) as working:
            working.overdraw(pixels * _FINISHING_BYTES)
            return work()

    def _sparse_depth(self, sparse: SparseDepth, image: DecodedImage) -> KnownDepths:
        most = self._settings.max_image_pixels
        return read_sparse_depth(sparse, image.height, image.width, max_pixels=most)

    def _check_depth(self, request: DepthRequest, height: int, width: int) -> None:
        most, settings = self._settings.max_depth_pixels, self._settings
        limits = EncodeOptions(
            unit="", json_max_pixels=settings.json_max_pixels, ply_max_pixels=settings.ply_max_pixels
        )
        check_size(request.format, height, width, limits)
        if height * width > most:
            raise ImageTooLarge(
                f"depth of {width}x{height} pixels is larger than the {most} that are returned "
                "(DEPTH_MAX_DEPTH_PIXELS); expected a smaller photograph, or size: model"
            )


def _seen_bytes(view: View, height: int, width: int) -> int:
    try:
        rows, columns = view.size(height, width)
    except ValueError as error:
        raise InvalidImage(str(error)) from None
    return rows * columns * _SEEN_BYTES
