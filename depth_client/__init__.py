"""The Python client: depth over HTTP or gRPC, waited for or awaited, as NumPy arrays.

It needs neither torch nor any part of the server.
"""

from depth_client.async_client import AsyncDepthClient
from depth_client.connection import Tls
from depth_client.contract import (
    CameraHeight,
    Colour,
    Distance,
    Distances,
    FieldOfView,
    Format,
    Ground,
    Intrinsics,
    KnownDistance,
    KnownFit,
    KnownPoints,
    Pose,
    Regions,
    SparseDepth,
)
from depth_client.errors import (
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
from depth_client.result import DepthResult, DistancesResult, FrameResult, ModelDescription
from depth_client.retry import Retry
from depth_client.sources import SourceFrame, camera, folder, video
from depth_client.sync_client import DepthClient

__all__ = [
    "AsyncDepthClient",
    "CameraHeight",
    "Colour",
    "DeadlineExceeded",
    "DepthClient",
    "DepthResult",
    "Distance",
    "Distances",
    "DistancesResult",
    "FieldOfView",
    "Format",
    "FrameResult",
    "Ground",
    "ImageTooLarge",
    "InferenceFailed",
    "Intrinsics",
    "InvalidArgument",
    "InvalidImage",
    "KnownDistance",
    "KnownFit",
    "KnownPoints",
    "ModelDescription",
    "NotReady",
    "Overloaded",
    "Pose",
    "RateLimited",
    "Regions",
    "RequestError",
    "Retry",
    "ServiceError",
    "SourceFrame",
    "SparseDepth",
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
