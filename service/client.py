"""The old name of :mod:`depth_client`, for one release more."""

import warnings

from depth_client import *  # noqa: F403
from depth_client import __all__ as __all__

warnings.warn(
    "service.client is now depth_client; the old name goes in 0.2", DeprecationWarning, stacklevel=2
)
