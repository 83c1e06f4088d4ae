"""The records and errors that the client shares with the service.

Beside the service these are the service's own: both ends raise and return the same classes. The client's own
wheel has the modules of service/contract in this place (pyproject.toml), and no package named `service`.
"""

from service.contract import *  # noqa: F403
from service.contract import __all__ as __all__
