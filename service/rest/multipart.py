"""Multipart bodies: ``multipart/form-data`` in, ``multipart/mixed`` out, both whole in memory.

Bodies are bounded before they come here, so nothing spills to a disk.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.contract.errors import InvalidArgument
from service.rest.errors import Headers


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of a form."""

    name: str
    filename: str | None
    content_type: str
    """Without its parameters; empty where the part does not say."""
    data: bytes


class _Collector:
    """Gathers parts from the parser's callbacks, which give slices of the body."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._max_parts = max_parts

    def on_part_begin(self) -> None:
        if len(self.parts) == self._max_parts:
            raise InvalidArgument(f"the form has more than {self._max_parts} parts")
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._data: list[bytes] = []

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])

    def on_part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if b"name" not in options:
            raise InvalidArgument("a part of the form has no name")
        filename = options.get(b"filename")
        content_type, _ = parse_options_header(self._headers.get(b"content-type", b""))
        self.parts.append(
            Part(
                name=options[b"name"].decode(errors="replace"),
                filename=None if filename is None else filename.decode(errors="replace"),
                content_type=content_type.decode(errors="replace"),
                data=self._data[0] if len(self._data) == 1 else b"".join(self._data),
            )
        )

    def on_end(self) -> None:
        self.complete = True


def parse_form(body: bytes, content_type: str, *, max_parts: int) -> list[Part]:
    """Take a ``multipart/form-data`` body apart.

    Raises:
        InvalidArgument: It is not one, is cut off, or has too many parts.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidArgument("the form's content type names no boundary")
    collector = _Collector(max_parts)
    names = ("part_begin", "header_field", "header_value", "header_end", "part_data", "part_end", "end")
    try:
        callbacks: Any = {f"on_{name}": getattr(collector, f"on_{name}") for name in names}
        parser = MultipartParser(boundary, callbacks)
    except FormParserError:
        raise InvalidArgument(f"the form's boundary has {len(boundary)} bytes; expected 1 to 70") from None
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise InvalidArgument("the form is malformed") from None
    if not collector.complete:
        raise InvalidArgument("the form is cut off")
    return collector.parts


def write_mixed(parts: Iterable[tuple[Headers, bytes]]) -> tuple[bytes, Sequence[bytes]]:
    """Write parts, each with its headers; answer the content type, and the body in pieces."""
    boundary = secrets.token_hex(16).encode()
    chunks: list[bytes] = []
    before = b""
    for headers, data in parts:
        lines = (name + b": " + value for name, value in headers)
        chunks.append(b"\r\n".join((before + b"--" + boundary, *lines, b"", b"")))
        chunks.append(data)
        before = b"\r\n"
    chunks.append(before + b"--" + boundary + b"--\r\n")
    return b"multipart/mixed; boundary=" + boundary, chunks
