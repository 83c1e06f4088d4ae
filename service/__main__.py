"""``depth-serve``: reads the settings once, and runs the service."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator

# Read when grpc is imported. No child of ours goes on to use gRPC, and its handlers for that case would only
# complain in our log whenever a child is started.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import uvloop
from pydantic import ValidationError

from model.commands import ending_with_its_reader
from service.backends import BackendError
from service.codec.memory import keep_freed_memory
from service.lifespan import serve
from service.settings import Settings
from service.telemetry.logs import configure_logging
from service.transports.auth import ApiKey, hash_key, new_key

logger = logging.getLogger(__name__)

_BAD_USAGE = 2


@ending_with_its_reader()
def main() -> None:
    """Serve depth until a signal says otherwise."""
    parser = argparse.ArgumentParser(
        prog="depth-serve",
        description="Serve depth over HTTP and gRPC; everything is set by DEPTH_... variables.",
    )
    parser.add_argument("--new-key", metavar="NAME", help="make an API key, print it and its line, and leave")
    parser.add_argument("--rate", metavar="IMAGES_PER_S", type=float, help="of the new key, in the long run")
    parser.add_argument(
        "--burst", metavar="IMAGES", type=float, help="of the new key, at once after a rest; needs --rate"
    )
    parser.add_argument(
        "--priority", type=int, default=0, help="of the new key: the highest that it may ask for"
    )
    arguments = parser.parse_args()
    if arguments.new_key is not None:
        try:
            _print_new_key(arguments.new_key, arguments.rate, arguments.burst, arguments.priority)
        except ValueError as error:
            parser.error(str(error))
        return
    if (arguments.rate, arguments.burst, arguments.priority) != (None, None, 0):
        parser.error("--rate, --burst and --priority are of a new key; expected --new-key NAME beside them")
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the service looks through its folder at each
    try:
        settings = Settings()
    except ValidationError as error:
        parser.exit(_BAD_USAGE, "".join(f"depth-serve: {line}\n" for line in _faults(error)))
    configure_logging(settings.log_level)
    for name in _misspelt(os.environ):
        logger.warning("%s is set, but there is no such setting", name)
    if settings.compile is not None:
        logger.warning(
            "DEPTH_COMPILE is called DEPTH_CUDA_GRAPHS now; the old name goes with the next release"
        )
    keep_freed_memory()
    try:
        status = uvloop.run(serve(settings))
    except BackendError as error:
        logger.critical("cannot start: %s; DEPTH_BACKEND and DEPTH_DEVICE say where networks run", error)
        status = 1
    except (OSError, ValueError, RuntimeError) as error:
        logger.critical("cannot start: %s", error)
        status = 1
    # Everything is closed. A device's thread may still be in the midst of a load, which nobody waits for:
    # taking the interpreter down around native code would abort the process.
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)


def _faults(error: ValidationError) -> Iterator[str]:
    """Say each fault of the settings in one line, without the values, which may be keys."""
    for fault in error.errors(include_url=False, include_input=False):
        names = [f"DEPTH_{str(part).upper()}: " for part in fault["loc"][:1]]
        yield "".join(names) + fault["msg"].removeprefix("Value error, ")


def _print_new_key(name: str, rate: float | None, burst: float | None, priority: int) -> None:
    """Make a key and print it, with its line of the key file.

    Raises:
        ValueError: The line would not be read.
    """
    key = new_key()
    line = ApiKey(name=name, digest=hash_key(key), images_per_s=rate, burst=burst, priority=priority).line()
    print(f"The key, which is shown only now:\n  {key}\nThe line for the file of DEPTH_API_KEYS:")
    print(f"  {line}")


def _misspelt(names: Iterable[str]) -> list[str]:
    known = {f"DEPTH_{field.upper()}" for field in Settings.model_fields}
    return sorted(name for name in names if name.upper().startswith("DEPTH_") and name.upper() not in known)


if __name__ == "__main__":
    main()
