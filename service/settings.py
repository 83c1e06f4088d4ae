"""Everything that an operator may set, read once from ``DEPTH_...`` variables or an ``.env`` file.

It does not act on any of it. Each part of the service is handed what concerns it.
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]
"""0 lets the system choose."""

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/]+")

PRETRAINED = Path(__file__).parents[1] / "model" / "pretrained"


class Settings(BaseSettings):
    """The service's settings; field ``http_port`` is the variable ``DEPTH_HTTP_PORT``, and so on."""

    model_config = SettingsConfigDict(
        env_prefix="DEPTH_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a key that cannot be read must not end up in a log
    )

    # Models
    models: Path = PRETRAINED / "student.safetensors"
    """A folder of checkpoints, NAME.safetensors or NAME/VERSION.safetensors; or one checkpoint."""
    default_model: str | None = None
    """Answers requests that name none; where unset: `student` if there is one, else the first by name."""
    foundation_weights: Path | None = None
    """A teacher's foundation model, as a timm .safetensors file, where the checkpoint does not hold it."""
    watch_interval_s: NonNegativeFloat = 2.0
    """How often the folder of models is looked through for changes; 0: only when an admin asks."""
    versions_kept: PositiveInt = 1
    """How many of the newest versions of each model are served at once."""
    cache_dir: Path | None = None
    """Where exported and compiled models are kept; the user's cache folder where unset."""

    # Devices
    backend: Literal["auto", "openvino", "torch", "simulated"] = "auto"
    """What runs the networks; `auto`: torch on CUDA where there is a GPU, else OpenVINO."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` for every GPU, or a list such as `cuda:0,cuda:1`."""
    instances: PositiveInt | None = None
    """Copies of each model per device, fed from one queue; chosen by the backend where unset."""
    threads: PositiveInt | None = None
    """Of each instance on a CPU; the cores divided among the instances where unset."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: bfloat16 where the hardware computes in it (float16 on older GPUs), else float32."""
    compile: bool = True
    """Whether torch on CUDA records each batch size as a CUDA graph."""

    # Batching and admission
    max_batch: PositiveInt | None = None
    """The largest batch; chosen by the times measured at warm-up where unset."""
    batch_delay_s: NonNegativeFloat = 0.0
    """How long an idle device may wait for images that are being decoded."""
    queue_items: PositiveInt = 256
    """How many images may be on their way to one model's devices."""
    request_timeout_s: PositiveFloat = 30.0
    """A request's deadline where it brings none, and the latest where it does."""
    hang_timeout_s: PositiveFloat = 20.0
    """A batch that takes longer has hung its backend."""
    warm_up_timeout_s: PositiveFloat = 300.0
    """Likewise while a model is loaded: its first batches may compile, on a machine that is busy serving."""
    drain_timeout_s: PositiveFloat = 25.0
    """How long accepted requests may take to finish when the service stops."""

    # Codec
    codec_threads: PositiveInt | None = None
    """That decode and encode; one a core where unset."""
    max_image_pixels: PositiveInt = 33_554_432
    """Of an input image; just over 8K UHD."""
    scaled_decode: bool = True
    """Whether large JPEGs are decoded at a fraction of their size where the network sees no more."""
    json_max_pixels: PositiveInt = 262_144
    """Of depth that is written number by number: as JSON, or typed in a KServe answer over gRPC."""
    ply_max_pixels: PositiveInt = 8_388_608
    colour_map: str = "turbo"

    # Doors
    host: str = "0.0.0.0"  # noqa: S104 - a service in a container is meant to be reached
    http_port: Port = 8000
    grpc_port: Port = 8001
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """Where set, clients of both doors must show a certificate that it signed."""
    api_keys: Path | None = None
    """A file of hashed keys, a line a key; without it the doors are open."""
    admin_key: SecretStr | None = None
    """Opens the admin calls; without it there are none."""
    admin_key_file: Path | None = None
    """A file that holds it."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins, with commas between, whose pages browsers let ask this service; `*` for all of them."""
    max_body_bytes: PositiveInt = 64 * 2**20
    max_bodies_bytes: PositiveInt = 512 * 2**20
    """Of all requests that are being read or answered at once."""
    max_answers_bytes: PositiveInt = 2**30
    """Of all depth that HTTP clients have not read yet, or that calls of several images are gathering."""
    max_head_bytes: PositiveInt = 65_536
    """Of an HTTP request's line and headers."""
    head_timeout_s: PositiveFloat = 10.0
    body_timeout_s: PositiveFloat = 30.0
    keep_alive_s: PositiveFloat = 30.0
    stalled_peer_s: PositiveFloat = 30.0
    """How long a client may take nothing of its answer before its connection, or its gRPC stream, is cut."""
    max_connections: PositiveInt = 1024
    max_calls_per_connection: PositiveInt = 256
    """Calls of one gRPC connection that may run at once; the client holds further ones back."""
    max_images_per_call: PositiveInt = 64
    max_streams: PositiveInt = 64
    max_stream_frames: PositiveInt = 8
    """Frames of one stream that may be in flight at once."""
    stream_idle_timeout_s: PositiveFloat = 60.0
    """How long a stream may bring no frame."""
    linger_s: NonNegativeFloat = 0.5
    """When stopping: how long connections are still taken after readiness fell, so that load balancers hear
    of it and clients are told to close theirs."""
    ready_file: Path | None = None
    """Written with both ports, as JSON, once the service is ready."""
    tracing: Literal["off", "otlp"] = "off"
    """Whether spans are exported, to where the OTEL_EXPORTER_OTLP_... variables say."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin; expected SCHEME://HOST, with :PORT where needed, or *"
                )
        return origins

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key are set together or not at all")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        if self.admin_key is not None and self.admin_key_file is not None:
            raise ValueError("admin_key and admin_key_file are both set; expected one of them")
        for name in ("models", "foundation_weights", "tls_cert", "tls_key", "tls_client_ca", "api_keys"):
            path = getattr(self, name)
            if path is not None and not path.exists():
                raise ValueError(f"{name} is {path}, which does not exist")
        return self
