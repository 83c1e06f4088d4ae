"""Where one part of an HTTP/1.1 message ends (RFC 9112), so that a parser gets one part at a time.

The parser decides what is valid. With the ends alone, a connection can stop exactly behind a request until
it is answered, and bound each part that a sender may draw out: head, chunk sizes and trailers.
"""

import re
from enum import Enum, auto

_END = re.compile(rb"\n\r?\n")
_BODY_SLICE = 65_536
_SLICE = 4096
_MOST_LINE = 1024
"""Of a chunk's size and what may stand behind it."""


class Part(Enum):
    """What comes next."""

    HEAD = auto()
    BODY = auto()
    CHUNK_SIZE = auto()
    CHUNK = auto()
    TRAILERS = auto()


class PartTooLargeError(Exception):
    """A part has more bytes than it may."""

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.part = part


class Framing:
    """The bytes of one connection that are not parsed yet.

    Args:
        max_head_bytes: Of a head, and of trailers.
    """

    def __init__(self, max_head_bytes: int) -> None:
        self._max_head_bytes = max_head_bytes
        self.pending = bytearray()
        self.begin_head()

    def begin_head(self) -> None:
        """Expect the next request."""
        self._enter(Part.HEAD)

    def begin_body(self, length: int | None) -> None:
        """Expect a body of so many bytes, or of chunks where None."""
        self._enter(Part.CHUNK_SIZE if length is None else Part.BODY)
        self._left = length or 0

    @property
    def begins_line(self) -> bool:
        """Whether what comes next of a head is a line behind its first."""
        return self.part is Part.HEAD and self._tail.endswith(b"\n")

    def next_slice(self) -> bytes:
        """Take what may be parsed next: of one part only; nothing where more bytes must come first.

        Raises:
            PartTooLargeError: A part has too many.
        """
        match self.part:
            case Part.HEAD | Part.TRAILERS:
                return self._to_blank_line()
            case Part.BODY:
                return self._counted()
            case Part.CHUNK:
                taken = self._counted()
                if not self._left:
                    self._enter(Part.CHUNK_SIZE)
                return taken
            case Part.CHUNK_SIZE:
                return self._size_line()

    def _enter(self, part: Part) -> None:
        self.part = part
        self._taken = 0
        self._tail = b""
        self._left = 0

    def _take(self, count: int) -> bytes:
        taken = bytes(self.pending[:count])
        del self.pending[:count]
        return taken

    def _counted(self) -> bytes:
        taken = self._take(min(self._left, _BODY_SLICE))
        self._left -= len(taken)
        return taken

    def _to_blank_line(self) -> bytes:
        """Take whole lines if there are any; of the first, and of one that is too long, what is there."""
        seen = self._tail + self.pending[:_SLICE]
        end = _END.search(seen)
        if end is not None:
            count = end.end() - len(self._tail)
        else:
            count = self.pending.rfind(b"\n", 0, _SLICE) + 1
            if not count and (not self._taken or len(self.pending) >= _SLICE):
                count = _SLICE
        taken = self._take(count)
        self._taken += len(taken)
        if self._taken > self._max_head_bytes:
            raise PartTooLargeError(self.part)
        self._tail = (self._tail + taken)[-2:]
        return taken

    def _size_line(self) -> bytes:
        end = self.pending.find(b"\n", 0, _MOST_LINE)
        if end < 0:
            if len(self.pending) >= _MOST_LINE:
                raise PartTooLargeError(self.part)
            return b""
        line = self._take(end + 1)
        digits = line.partition(b";")[0].strip()
        size = int(digits, 16) if re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits) else None
        if size == 0:
            self._enter(Part.TRAILERS)
            self._tail = b"\n"  # the line's: a blank line may follow at once
        elif size is not None:
            self._enter(Part.CHUNK)
            self._left = size + 2  # and the line's end behind it
        return line  # the parser refuses what is no size
