"""What runs networks: one protocol, and an implementation for each kind of device.

It knows checkpoints and devices, and neither requests nor queues.
"""

from service.backends.base import Backend, BackendError, BackendOptions, DeviceLost
from service.backends.choose import Placement, choose, open_backend

__all__ = ["Backend", "BackendError", "BackendOptions", "DeviceLost", "Placement", "choose", "open_backend"]
