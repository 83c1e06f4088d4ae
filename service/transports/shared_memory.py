"""Shared memory of this machine, through which its clients hand tensors over without sending them.

Clients register regions of objects in ``/dev/shm`` by a name, and name them in requests.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.contract.errors import InvalidArgument

_FOLDER = Path("/dev/shm")  # noqa: S108 - it is what is meant: where POSIX shared memory lies on Linux
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_KEY = re.compile(r"/?[\w.-]{1,200}")
_SHRUNK = "region {!r} has become smaller than it was registered with"
_MOST_NAME = 200
_MOST_REGIONS = 64
"""Of each caller."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of a shared memory object."""

    name: str
    key: str
    """The object's own name."""
    offset: int
    """Where in the object it begins."""
    byte_size: int


@dataclass(frozen=True, kw_only=True)
class Place:
    """A part of a region, as a request names it."""

    region: str
    offset: int
    byte_size: int


class Regions:
    """The regions that callers have registered; each sees those of its own key alone.

    Objects are read and written through their files, and never mapped: a client that makes one smaller
    meanwhile gets an error, where a mapping would end the process.

    Args:
        prefix: How the names of objects begin that may be registered; none may where it is empty.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._regions: dict[tuple[str, str], Region] = {}

    @property
    def on(self) -> bool:
        """Whether there can be any."""
        return bool(self._prefix)

    def register(self, owner: str, region: Region) -> None:
        """Remember a region.

        Raises:
            InvalidArgument: It cannot be one, reaches beyond its object, or has the name of another.
        """
        self._check_key(region.key)
        if not 0 < len(region.name) <= _MOST_NAME:
            raise InvalidArgument(
                f"a region's name has {len(region.name)} characters; expected 1 to {_MOST_NAME}"
            )
        if region.offset < 0 or region.byte_size <= 0:
            raise InvalidArgument(
                f"region {region.name!r} has offset {region.offset} and {region.byte_size} bytes; expected "
                "an offset from 0 on and at least 1 byte"
            )
        if (owner, region.name) in self._regions:
            raise InvalidArgument(
                f"region {region.name!r} is there already; expected another name, or unregister"
            )
        if sum(held_by == owner for held_by, _ in self._regions) >= _MOST_REGIONS:
            raise InvalidArgument(f"{_MOST_REGIONS} regions are registered already; expected no more")
        with _opened(region.key) as (_, size):
            if region.offset + region.byte_size > size:
                raise InvalidArgument(
                    f"region {region.name!r} ends at byte {region.offset + region.byte_size}; expected at "
                    f"most the {size} bytes of {region.key!r}"
                )
        self._regions[owner, region.name] = region

    def unregister(self, owner: str, name: str = "") -> None:
        """Forget a region that is there, or all of an owner's where none is named."""
        for known in [key for key in self._regions if key[0] == owner and name in ("", key[1])]:
            del self._regions[known]

    def listed(self, owner: str, name: str = "") -> list[Region]:
        """Return an owner's regions, or the one that is named.

        Raises:
            InvalidArgument: It is not there.
        """
        if name:
            return [self._find(owner, name)]
        return [region for (held_by, _), region in self._regions.items() if held_by == owner]

    def read(self, owner: str, place: Place) -> bytes:
        """Return what stands at a place of a region.

        Raises:
            InvalidArgument: There is no such place.
        """
        region = self._find(owner, place.region)
        _check_place(region, place)
        with _opened(region.key) as (file, _):
            found = os.pread(file, place.byte_size, region.offset + place.offset)
        if len(found) < place.byte_size:
            raise InvalidArgument(_SHRUNK.format(region.name))
        return found

    def write(self, owner: str, place: Place, data: bytes) -> None:
        """Write to a place of a region.

        Raises:
            InvalidArgument: There is no such place, or it is too small.
        """
        region = self._find(owner, place.region)
        _check_place(region, place)
        if len(data) > place.byte_size:
            raise InvalidArgument(
                f"the output has {len(data)} bytes; expected a place in region {region.name!r} of as many, "
                f"rather than {place.byte_size}"
            )
        with _opened(region.key) as (file, size):
            begin = region.offset + place.offset
            if begin + len(data) > size:
                raise InvalidArgument(_SHRUNK.format(region.name))
            os.pwrite(file, data, begin)

    def _find(self, owner: str, name: str) -> Region:
        self._check_on()
        region = self._regions.get((owner, name))
        if region is None:
            raise InvalidArgument(f"there is no region {name[:40]!r}; expected one that was registered")
        return region

    def _check_on(self) -> None:
        if not self._prefix:
            raise InvalidArgument(
                "system shared memory is off; expected DEPTH_SHARED_MEMORY_PREFIX to say how names begin"
            )

    def _check_key(self, key: str) -> None:
        self._check_on()
        if not _KEY.fullmatch(key) or not key.removeprefix("/").startswith(self._prefix):
            raise InvalidArgument(
                f"the key {key[:40]!r} may not be registered; expected the name of a shared memory object "
                f"that begins with {self._prefix!r} (DEPTH_SHARED_MEMORY_PREFIX)"
            )


def _check_place(region: Region, place: Place) -> None:
    if place.offset < 0 or place.byte_size <= 0 or place.offset + place.byte_size > region.byte_size:
        raise InvalidArgument(
            f"{place.byte_size} bytes from {place.offset} on are no part of region {region.name!r}; "
            f"expected a part of its {region.byte_size} bytes"
        )


@contextmanager
def _opened(key: str) -> Iterator[tuple[int, int]]:
    """Yield an object's file, and how many bytes it has."""
    try:
        file = os.open(_FOLDER / key.removeprefix("/"), _FLAGS)
    except OSError as error:
        raise InvalidArgument(
            f"the shared memory object {key[:40]!r} cannot be opened: {error.strerror}"
        ) from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidArgument(f"{key[:40]!r} is no shared memory object")
        yield file, found.st_size
    finally:
        os.close(file)
