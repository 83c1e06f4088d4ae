"""What is sent of one frame of a stream."""

from dataclasses import dataclass

from depth_client.contract import Pose, Regions


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A frame as it is sent."""

    image: bytes
    regions: Regions | None = None
    """Distances to them are wanted in place of a map."""
    pose: Pose | None = None
    """Of the camera."""
