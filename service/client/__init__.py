"""The Python client: depth over HTTP or gRPC, waited for or awaited, as NumPy arrays.

It needs neither torch nor any part of the server.
"""

from service.client.async_client import AsyncDepthClient
from service.client.connection import Tls
from service.client.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    InferenceFailed,
    InvalidArgument,
    InvalidImage,
    NotReady,
    Overloaded,
    RateLimited,
    RequestError,
    ServiceError,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    Unreachable,
    UnreadableAnswer,
)
from service.client.result import DepthResult, FrameResult, ModelDescription
from service.client.retry import Retry
from service.client.sources import SourceFrame, camera, folder, video
from service.client.sync_client import DepthClient
from service.request import CameraHeight, Colour, FieldOfView, Format, Intrinsics, KnownDistance

__all__ = [
    "AsyncDepthClient",
    "CameraHeight",
    "Colour",
    "DeadlineExceeded",
    "DepthClient",
    "DepthResult",
    "FieldOfView",
    "Format",
    "FrameResult",
    "ImageTooLarge",
    "InferenceFailed",
    "Intrinsics",
    "InvalidArgument",
    "InvalidImage",
    "KnownDistance",
    "ModelDescription",
    "NotReady",
    "Overloaded",
    "RateLimited",
    "RequestError",
    "Retry",
    "ServiceError",
    "SourceFrame",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "UnknownModel",
    "Unreachable",
    "UnreadableAnswer",
    "camera",
    "folder",
    "video",
]
