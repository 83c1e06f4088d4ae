"""Say, by exit status, whether the service in this container is ready: HEALTHCHECK runs it.

It asks over HTTP, or HTTPS where that is set, at the port that the service wrote down when it was ready.
It needs nothing but Python, and does not know depth.
"""

import http.client
import json
import os
import ssl
import sys
from pathlib import Path

TIMEOUT_S = 4.0


def main() -> int:
    """Return 0 where the service is ready; 1, with the reason printed, where it is not."""
    tls, mutual = ("DEPTH_TLS_CERT" in os.environ, "DEPTH_TLS_CLIENT_CA" in os.environ)
    problem = find_problem(os.environ.get("DEPTH_READY_FILE", ""), tls=tls, mutual=mutual)
    print(problem or "ready")
    return int(problem is not None)


def find_problem(ready_file: str, *, tls: bool, mutual: bool) -> str | None:
    """Return why the service is not ready, or None where it is.

    Args:
        ready_file: DEPTH_READY_FILE, which the service writes when it is ready and removes when it ends.
        tls: Whether its transports speak TLS.
        mutual: Whether they answer only those who show a certificate. We have none: that the service shakes
            hands says that it lives, and the file that it is ready.
    """
    try:
        port = json.loads(Path(ready_file).read_text(encoding="utf-8"))["http_port"]
    except OSError:
        return f"it is starting or ending: {ready_file!r} is not there"
    transport = _transport(port, tls=tls)
    try:
        transport.connect()
        if mutual:
            return None
        transport.request("GET", "/readyz")
        status = transport.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from port {port}: {error!r}"
    finally:
        transport.close()
    return None if status == http.client.OK else f"/readyz answered {status}"


def _transport(port: int, *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is this very container
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)


if __name__ == "__main__":
    sys.exit(main())
