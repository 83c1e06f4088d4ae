"""Bytes of photographs to pixels, and depth to bytes: every format, with its limits.

It knows requests' vocabulary, and neither transports nor batches nor networks.
"""

from service.codec.colour import COLOUR_MAPS
from service.codec.decode import UNDECODED_SHARE, DecodedImage, decode_image
from service.codec.encode import encode_depth, held_range
from service.codec.header import claimed_pixels, container
from service.codec.png import encode_png

__all__ = [
    "COLOUR_MAPS",
    "UNDECODED_SHARE",
    "DecodedImage",
    "claimed_pixels",
    "container",
    "decode_image",
    "encode_depth",
    "encode_png",
    "held_range",
]
