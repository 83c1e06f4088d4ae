"""Bytes of photographs to pixels, and depth to bytes: every format, with its limits.

It knows requests' vocabulary, and neither doors nor batches nor networks.
"""

from service.codec.colour import COLOUR_MAPS
from service.codec.decode import DecodedImage, decode_image
from service.codec.encode import EncodedDepth, encode_depth, held_range
from service.codec.png import encode_png

__all__ = [
    "COLOUR_MAPS",
    "DecodedImage",
    "EncodedDepth",
    "decode_image",
    "encode_depth",
    "encode_png",
    "held_range",
]
