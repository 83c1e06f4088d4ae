"""What a request's parameters ask for, as fields of the records that the engine takes.

Names and units are those of ``/v1/depth``, beside the protocol's own ``priority`` and ``timeout``.
"""

from base64 import b64decode
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from service.contract.bounds import DEPTH
from service.contract.errors import InvalidArgument
from service.contract.formats import Format
from service.contract.options import RegionOptions, SceneOptions, read_options
from service.contract.request import SparseDepth
from service.kserve.contract import DEFAULT_PRIORITY, PRIORITY_LEVELS

MOST_SPARSE_CHARACTERS = 2 * 2**20
"""As base64; a map of 1242x375 pixels that LiDAR fills takes a tenth of it."""
Scalar = bool | int | float | str
_Whole = Annotated[int, Field(ge=0, le=2**64 - 1)]


class InferParameters(SceneOptions, RegionOptions):
    """What the parameters of a request may ask for; the model and its version are in the path."""

    priority: _Whole = 0
    """1 goes first, 9 last; 5 where 0 or not given."""
    timeout: _Whole = 0
    """In microseconds; none where 0 or not given."""
    sequence_id: str = ""
    """Without meaning: these models remember nothing between requests."""
    sequence_start: str = ""
    """Likewise."""
    sequence_end: str = ""
    """Likewise."""
    triton_enable_empty_final_response: str = ""
    """Likewise."""
    content_type: str = ""
    """Likewise: MLServer's word for the codec that its client wrote with."""

    sparse_depth: Annotated[str, Field(max_length=MOST_SPARSE_CHARACTERS)] | None = None
    """For one image: depth with holes, as a 16-bit grey PNG in base64, 0 where nothing was measured."""
    sparse_depth_steps_per_metre: Annotated[float, Field(ge=DEPTH.least, le=DEPTH.most)] = 256.0
    """What a metre is in it."""

    @property
    def timeout_s(self) -> float | None:
        """How long the answer may take; None where the request does not say."""
        return self.timeout / 1e6 or None

    def request_fields(self) -> dict[str, Any]:
        """Return these parameters as fields of each image's DepthRequest.

        Raises:
            InvalidArgument: They do not fit together.
        """
        # As Triton has it, for 0 and for whatever is beyond its levels.
        level = self.priority if 1 <= self.priority <= PRIORITY_LEVELS else DEFAULT_PRIORITY
        fields = super().request_fields()
        if self.sparse_depth is not None:
            if fields["anchor"] is not None:
                raise InvalidArgument("sparse_depth and another anchor are given; expected one of them")
            fields["anchor"] = self._sparse_depth(self.sparse_depth)
        return {
            **fields,
            "regions": self.regions(),
            "format": Format.FLOAT32,
            "priority": DEFAULT_PRIORITY - level,
        }

    def _sparse_depth(self, text: str) -> SparseDepth:
        try:
            png = b64decode(text, validate=True)
        except ValueError:
            raise InvalidArgument("sparse_depth is no base64; expected a 16-bit grey PNG in it") from None
        return SparseDepth(png=png, steps_per_metre=self.sparse_depth_steps_per_metre)


def read_parameters(parameters: Mapping[str, Scalar]) -> InferParameters:
    """Read a request's parameters.

    Triton's clients send numbers as texts where their type cannot hold them, so all are read as texts.

    Raises:
        InvalidArgument: A name is unknown, or a value is none that it may have.
    """
    texts = ((name, str(value)) for name, value in parameters.items())
    return read_options(InferParameters, texts, called="parameter")
