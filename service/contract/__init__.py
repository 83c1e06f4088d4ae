"""What a caller asks, what the service returns, and every error between; it knows no transport."""

# Imports between these modules are relative: the client's own wheel has them as depth_client.contract.
from .answer import DepthAnswer, ModelInfo, ModelState, ModelStatistics, ScaleSource, Unit
from .basis import Basis, Ground, KnownFit, Rectified
from .bounds import USUAL_STEADINESS
from .errors import (
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
)
from .formats import Format, FormatSpec
from .messages import read_message, write_message
from .pose import Pose
from .regions import Distance, Distances, Regions, distances_of, write_regions
from .request import (
    Anchor,
    CameraHeight,
    Colour,
    DepthRequest,
    FieldOfView,
    Intrinsics,
    KnownDistance,
    KnownPoints,
    Lens,
    Size,
    Sky,
    SparseDepth,
)
from .wire import read_headers, read_json, read_response

__all__ = [
    "USUAL_STEADINESS",
    "Anchor",
    "Basis",
    "CameraHeight",
    "Colour",
    "DeadlineExceeded",
    "DepthAnswer",
    "DepthRequest",
    "Distance",
    "Distances",
    "FieldOfView",
    "Format",
    "FormatSpec",
    "Ground",
    "ImageTooLarge",
    "InferenceFailed",
    "Intrinsics",
    "InvalidArgument",
    "InvalidImage",
    "KnownDistance",
    "KnownFit",
    "KnownPoints",
    "Lens",
    "ModelInfo",
    "ModelState",
    "ModelStatistics",
    "NotReady",
    "Overloaded",
    "Pose",
    "RateLimited",
    "Rectified",
    "Regions",
    "RequestError",
    "ScaleSource",
    "ServiceError",
    "Size",
    "Sky",
    "SparseDepth",
    "Unauthenticated",
    "Unavailable",
    "Unit",
    "UnknownModel",
    "distances_of",
    "read_headers",
    "read_json",
    "read_message",
    "read_response",
    "write_message",
    "write_regions",
]
