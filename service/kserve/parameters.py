"""What a request's parameters ask for, as fields of the records that the engine takes.

It does not know how parameters travel. Names and units are those of ``/v1/depth``, beside the protocol's own
``priority`` and ``timeout``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.errors import InvalidArgument
from service.kserve.contract import DEFAULT_PRIORITY, PRIORITY_LEVELS
from service.request import Format
from service.rest.options import DEPTH_NAMES, depth_options

Scalar = bool | int | float | str

OPTIONS = tuple(sorted(DEPTH_NAMES - {"format", "model", "version", "priority", "colormap", "near", "far"}))
"""Of depth: the protocol has other places for the rest, or its one output does not need them."""
RESERVED = ("sequence_id", "sequence_start", "sequence_end", "triton_enable_empty_final_response")
"""The protocol's, and without meaning for a model that remembers nothing between requests."""
PRIORITY, TIMEOUT = "priority", "timeout"
_MAX_LENGTH = 64
"""Of a value: what options were read from is remembered for the next request."""
_MOST = 2**64 - 1


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How the depth of a request's images is wanted."""

    fields: Mapping[str, Any]
    """Of each image's DepthRequest."""
    timeout_s: float | None
    """How long the answer may take; None where the request does not say."""


def read_parameters(parameters: Mapping[str, Scalar]) -> Wish:
    """Read a request's parameters.

    Raises:
        InvalidArgument: A name is unknown, or a value cannot be read.
    """
    options = []
    for name, value in parameters.items():
        if isinstance(value, str) and len(value) > _MAX_LENGTH:
            raise InvalidArgument(
                f"parameter {name[:40]!r} has {len(value)} characters; expected at most {_MAX_LENGTH}"
            )
        if name in OPTIONS:
            options.append((name, str(value)))
        elif name not in (PRIORITY, TIMEOUT, *RESERVED):
            expected = ", ".join((*OPTIONS, PRIORITY, TIMEOUT))
            raise InvalidArgument(f"there is no parameter {name[:40]!r}; expected one of {expected}")
    level = _whole(parameters, PRIORITY)
    if not 1 <= level <= PRIORITY_LEVELS:
        level = DEFAULT_PRIORITY  # as Triton has it, for 0 and for whatever is beyond its levels
    timeout_us = _whole(parameters, TIMEOUT)
    fields = {
        **depth_options(tuple(options)),
        "format": Format.FLOAT32,
        "priority": DEFAULT_PRIORITY - level,
    }
    return Wish(fields=fields, timeout_s=timeout_us / 1e6 or None)


def _whole(parameters: Mapping[str, Scalar], name: str) -> int:
    value = parameters.get(name, 0)
    # Triton's clients send the timeout as a string where its type cannot hold it.
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is not int or not 0 <= value <= _MOST:
        raise InvalidArgument(
            f"parameter {name!r} is {str(value)[:40]!r}; expected a whole number from 0 to {_MOST}"
        )
    return value
