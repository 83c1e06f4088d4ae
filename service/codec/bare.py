"""Image files without what surrounds their pixels, for those whose surroundings alone are faulty.

Cameras and programs write such files: stray bytes between a JPEG's segments, a text chunk of a PNG with a
wrong checksum. It reads no pixels: whether these are whole shows when they are decoded.
"""

import re
import struct
import zlib
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
"""Chunks that decide about pixels; the last three say that it is an animation."""
_XMP = b"XML:com.adobe.xmp\0\0"
"""Keyword of an uncompressed text chunk that may hold the orientation."""
_MOST_XMP_BYTES = 1 << 20

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""What ends a scan's data: neither a stuffed byte, nor a restart, nor filling (ITU-T T.81, B.1.1)."""
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_END = 0xD9
SCAN = 0xDA
_RESTART_INTERVAL = 0xDD
_SEQUENTIAL = (0xC0, 0xC1)
_FRAMES = (*_SEQUENTIAL, 0xC2)
_ALONE = (0x01, 0xD8)
"""Markers that no segment follows."""
_KEPT_APPLICATIONS = {0xE0: (b"JFIF\0", 14), 0xE1: (b"", 0), 0xEE: (b"Adobe", 12)}
"""Application segments that say how pixels are meant, or what is up: how each begins, and its least size."""


def without_surroundings(data: bytes) -> bytes | None:
    """Return a JPEG or PNG of the same pixels without faulty or needless metadata; None for other formats.

    EXIF and XMP stay, since they say what is up. A JPEG's header also gets what libjpeg expects where it only
    warns otherwise: JFIF version 1, a sequential scan's parameters, and a marker at the end.
    """
    if data.startswith(PNG_SIGNATURE):
        return PNG_SIGNATURE + b"".join(chunk for chunk in _png_chunks(data) if _wanted(chunk))
    if data.startswith(_JPEG_SIGNATURE):
        return _bare_jpeg(data)
    return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker of a JPEG, up to that of its end, and where its segment begins; skip scans' data."""
    place = 0
    while found := _MARKER.search(data, place):
        marker, place = data[found.end() - 1], found.end()
        yield marker, place
        if marker == _END:
            return
        if marker not in _ALONE:
            place += int.from_bytes(data[place : place + 2])


def has_every_restart(data: bytes) -> bool:
    """Whether a JPEG of one scan has as many restart markers as its header promises.

    Then no data is missing at its end. The count follows from the frame's size and sampling and from the
    restart interval (ITU-T T.81, A.2 and B.2.4.4).
    """
    interval = units = 0
    scans = [place for marker, place in jpeg_segments(data) if marker == SCAN]
    for marker, place in jpeg_segments(data):
        if marker == _RESTART_INTERVAL:
            interval = int.from_bytes(data[place + 2 : place + 4])
        elif marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, place + 3)
            samplings = data[place + 9 : place + 8 + 3 * components : 3]
            across = 8 * max(each >> 4 for each in samplings)
            down = 8 * max(each & 15 for each in samplings)
            if components == 1:  # a scan of one component is not interleaved: a unit is a block
                across = down = 8
            units = -(-width // across) * -(-height // down)
    if len(scans) != 1:
        return False
    return not interval or len(_RESTART.findall(data, scans[0])) >= -(-units // interval) - 1


def _png_chunks(data: bytes) -> Iterator[bytes]:
    place = len(PNG_SIGNATURE)
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        yield data[place:end]
        place = end


def _wanted(chunk: bytes) -> bool:
    name, content = chunk[4:8], chunk[8:-4]
    if name in _PNG_PIXELS:
        return True
    orients = name == b"eXIf" or (
        name == b"iTXt" and content.startswith(_XMP) and len(content) < _MOST_XMP_BYTES
    )
    return orients and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:])


def _bare_jpeg(data: bytes) -> bytes:
    parts = [_JPEG_SIGNATURE]
    frame = 0
    for marker, place in jpeg_segments(data):
        segment = data[place : place + int.from_bytes(data[place : place + 2])]
        if marker == SCAN:
            scan_data = place + len(segment)
            if frame in _SEQUENTIAL:
                segment = segment[:-3] + b"\x00\x3f\x00"  # all frequencies, at full precision
            parts += [b"\xff\xda", segment, data[scan_data:]]
            break
        if marker in _FRAMES:
            frame = marker
        if marker == 0xE0:
            segment = segment[:7] + b"\x01" + segment[8:]
        if marker not in _ALONE and _is_needed(marker, segment):
            parts += [bytes((0xFF, marker)), segment]
    ended = any(marker == _END for marker, _ in jpeg_segments(data))
    return b"".join(parts) + (b"" if ended else bytes((0xFF, _END)))


def _is_needed(marker: int, segment: bytes) -> bool:
    if not 0xE0 <= marker <= 0xEF and marker != 0xFE:
        return True
    begins, least = _KEPT_APPLICATIONS.get(marker, (b"", 1 << 16))
    return segment[2:].startswith(begins) and len(segment) - 2 >= least
