"""Answer, by exit status, whether the service in this container is ready: HEALTHCHECK runs it.

It asks the HTTP door, over TLS where that is set, at the port that the service wrote down when it was ready.
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
    problem = find_problem(os.environ.get("DEPTH_READY_FILE", ""), tls="DEPTH_TLS_CERT" in os.environ)
    print(problem or "ready")
    return int(problem is not None)


def find_problem(ready_file: str, *, tls: bool) -> str | None:
    """Return why the service is not ready, or None where it is.

    Args:
        ready_file: DEPTH_READY_FILE, which the service writes when it is ready and removes when it ends.
        tls: Whether its doors speak TLS.
    """
    try:
        port = json.loads(Path(ready_file).read_text(encoding="utf-8"))["http_port"]
    except OSError:
        return f"it is starting or ending: {ready_file!r} is not there"
    try:
        status = _ask(port, tls=tls)
    except ssl.SSLError as error:
        # With DEPTH_TLS_CLIENT_CA only those with a certificate are answered; we are told so by who is ready.
        return None if "CERTIFICATE_REQUIRED" in str(error.reason) else f"TLS failed: {error}"
    except (OSError, http.client.HTTPException) as error:
        return f"no answer from port {port}: {error!r}"
    return None if status == http.client.OK else f"/readyz answered {status}"


def _ask(port: int, *, tls: bool) -> int:
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is this very container
        door: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=TIMEOUT_S, context=context
        )
    else:
        door = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        door.request("GET", "/readyz")
        return door.getresponse().status
    finally:
        door.close()


if __name__ == "__main__":
    sys.exit(main())
