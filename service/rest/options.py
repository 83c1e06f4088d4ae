"""What a request's query, form and headers ask for."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from service.contract.bounds import WEIGHT
from service.contract.formats import Format
from service.contract.options import DepthOptions, Pairs, read_number, read_options
from service.rest.errors import NotAcceptable

_WILD = ("*/*", "image/*")
"""What stands for PNG16; other ranges stand for the first format that they fit."""


def query_pairs(query: bytes) -> Pairs:
    """Take a query apart."""
    return tuple(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


@lru_cache(maxsize=256)
def depth_fields(pairs: Pairs, accept: str = "") -> Mapping[str, Any]:
    """Return the fields of a DepthRequest that say how depth is wanted.

    Raises:
        InvalidArgument: An option is unknown, or its value is none that it may have.
        NotAcceptable: No format is named, and ``Accept`` allows none that we write.
    """
    options = read_options(DepthOptions, pairs)
    fields = options.request_fields()
    if options.format is None and accept:
        fields["format"] = accepted_format(accept)
    return fields


def accepted_format(accept: str) -> Format:
    """Return the format that an ``Accept`` header likes best (RFC 9110, 12.5.1).

    Of formats that it likes equally, it gets the one that it names first; PNG16 where it takes just as gladly
    whatever there is, as axios' ``application/json, text/plain, */*`` does.

    Raises:
        InvalidArgument: One of its weights is no number from 0 to 1.
        NotAcceptable: It allows none that we write.
    """
    ranges = {media_range: (place, quality) for place, (media_range, quality) in enumerate(_ranges(accept))}
    liked = [
        (-quality, media_range not in _WILD, place, format_)
        for format_ in Format
        if format_.is_available
        for media_range, place, quality in _fitting(format_, ranges)
        if quality > 0
    ]
    if not liked:
        known = dict.fromkeys(name for format_ in Format for name in format_.spec.media_types)
        raise NotAcceptable(
            f"Accept is {accept[:80]!r}; expected it to allow one of {', '.join(known)}, or ?format="
        )
    return min(liked, key=lambda one: one[:3])[3]


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for entry in accept.lower().split(","):
        media_range, *parameters = (word.strip() for word in entry.split(";"))
        said = next((word for word in parameters if word.startswith("q=")), "q=1")
        quality = read_number(said.removeprefix("q="), "the weight q in Accept", WEIGHT)
        yield media_range, 1.0 if quality is None else quality


def _fitting(format_: Format, ranges: Mapping[str, tuple[int, float]]) -> Iterator[tuple[str, int, float]]:
    """Yield the most special range that fits a format, with its place and weight, where there is one."""
    for media_type in format_.spec.media_types:
        for media_range in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
            if media_range in ranges:
                yield media_range, *ranges[media_range]
                break
