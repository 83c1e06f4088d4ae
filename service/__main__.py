"""``depth-serve``: reads the settings once, and runs the service.

It does not know what they mean.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterable

# Read when grpc is imported. No child of ours goes on to use gRPC, and its handlers for that case would only
# complain in our log whenever a child is started.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import uvloop
from pydantic import ValidationError

from service.auth import hash_key, new_key
from service.lifespan import serve
from service.logs import configure_logging
from service.memory import keep_freed_memory
from service.settings import Settings

logger = logging.getLogger(__name__)

_BAD_USAGE = 2


def main() -> None:
    """Serve depth until a signal says otherwise."""
    parser = argparse.ArgumentParser(
        prog="depth-serve",
        description="Serve depth over HTTP and gRPC; everything is set by DEPTH_... variables.",
    )
    parser.add_argument("--new-key", metavar="NAME", help="make an API key, print it and its line, and leave")
    arguments = parser.parse_args()
    if arguments.new_key is not None:
        _print_new_key(arguments.new_key)
        return
    try:
        settings = Settings()
    except ValidationError as error:
        parser.exit(_BAD_USAGE, f"{error}\n")
    configure_logging(settings.log_level)
    for name in _misspelt(os.environ):
        logger.warning("%s is set, but there is no such setting", name)
    keep_freed_memory()
    try:
        status = uvloop.run(serve(settings))
    except (OSError, ValueError, RuntimeError) as error:
        logger.critical("cannot start: %s", error)
        status = 1
    if status > 128:  # cut short: whatever thread still computes is not waited for
        logging.shutdown()
        os._exit(status)
    sys.exit(status)


def _print_new_key(name: str) -> None:
    key = new_key()
    print(f"The key, which is shown only now:\n  {key}\nThe line for the file of DEPTH_API_KEYS:")
    print(f"  {name} {hash_key(key)}")


def _misspelt(names: Iterable[str]) -> list[str]:
    known = {f"DEPTH_{field.upper()}" for field in Settings.model_fields}
    return sorted(name for name in names if name.upper().startswith("DEPTH_") and name.upper() not in known)


if __name__ == "__main__":
    main()
