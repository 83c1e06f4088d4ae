"""Whether a service's limits fit each other, and what the system lets its process have."""

import resource
from collections.abc import Iterator
from pathlib import Path

from service.settings import Settings

RESERVED_FILES = 128
"""For probes beyond the most connections, the models' folder, logs and devices."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_FILE_BYTES_A_PIXEL = 20
_ITSELF_BYTES = 512 * 2**20
"""What the service has without any request."""


def fitted(settings: Settings) -> tuple[Settings, list[str]]:
    """Return settings whose connections leave some file descriptors, and what does not fit, in sentences.

    The system's limit of file descriptors is raised as far as it lets us.
    """
    files = _raise_files()
    problems = list(_unfit(settings))
    most = (files - RESERVED_FILES) // 2
    if most < settings.max_connections:
        problems.append(
            f"DEPTH_MAX_CONNECTIONS is {settings.max_connections} on each of two ports, and this process may "
            f"open {files} files, {RESERVED_FILES} of them for itself; {max(1, most)} are taken "
            "(raise `ulimit -n`)"
        )
        settings = settings.model_copy(update={"max_connections": max(1, most)})
    return settings, problems


def _unfit(settings: Settings) -> Iterator[str]:
    # One holder has at most half of an account, so that others find room.
    pairs = (
        ("max_bodies_bytes", "max_body_bytes", 1),
        ("max_answers_bytes", "max_depth_pixels", 4),
    )
    for account, part, bytes_each in pairs:
        most, size = getattr(settings, account), bytes_each * getattr(settings, part)
        if most < 2 * size:
            yield (
                f"DEPTH_{account.upper()} is {most}; expected at least {2 * size}, or the largest that "
                f"DEPTH_{part.upper()} allows finds no room"
            )
    size = _FILE_BYTES_A_PIXEL * settings.max_image_pixels
    if settings.max_pixels_bytes < size:
        yield (
            f"DEPTH_MAX_PIXELS_BYTES is {settings.max_pixels_bytes}; expected at least {size}, or the "
            "largest image that DEPTH_MAX_IMAGE_PIXELS allows finds no room"
        )
    held = settings.max_bodies_bytes + settings.max_answers_bytes + settings.max_pixels_bytes
    memory = _memory_bytes()
    if memory is not None and memory < held + _ITSELF_BYTES:
        yield (
            f"the accounts of bodies, answers and pixels have {held} bytes together, and this container has "
            f"{memory}, of which the service takes {_ITSELF_BYTES} for itself; expected less "
            "(DEPTH_MAX_BODIES_BYTES, DEPTH_MAX_ANSWERS_BYTES, DEPTH_MAX_PIXELS_BYTES), or more memory"
        )


def _raise_files() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft


def _memory_bytes() -> int | None:
    try:
        said = _CGROUP.read_text().strip()
    except OSError:
        return None
    return int(said) if said.isdigit() else None
