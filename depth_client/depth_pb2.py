"""The messages of proto/depth.proto.

Beside the service these are the service's own. The client's own wheel has the generated module in this place
(pyproject.toml).
"""

from service.rpc.pb.depth_pb2 import *  # noqa: F403
