"""An engine whose depth maps are flat, so that a test can compute every tensor in its head."""

from dataclasses import replace

import numpy as np

from service.contract.answer import DepthAnswer
from service.contract.request import DepthRequest
from tests.service.echo import EchoEngine

HEIGHT, WIDTH = 2, 3


class FlatEngine(EchoEngine):
    """Depth is a file's first byte, or a tensor's first number; files have 2 x 3 pixels, the network one."""

    def answer(self, request: DepthRequest) -> DepthAnswer:
        image = request.image
        if isinstance(image, bytes):
            value, height, width = float(image[0]), HEIGHT, WIDTH
        else:
            value, height, width = float(image.flat[0]), image.shape[0], image.shape[1]
        if request.size == "model":
            height, width = 1, 1
        return replace(
            super().answer(replace(request, image=b"")),
            body=np.full((height, width), value, "<f4").tobytes(),
            height=height,
            width=width,
            dtype="<f4",
            minimum=value,
            maximum=value,
        )
