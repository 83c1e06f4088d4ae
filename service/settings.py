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
    """The model for requests that name none; where unset, `student` if there is one, else the first by
    name."""
    foundation_weights: Path | None = None
    """A teacher's foundation model, as a timm .safetensors file, where the checkpoint does not hold it."""
    folder_timeout_s: PositiveFloat = 10.0
    """How long looking at one entry of that folder may take; then the entry is skipped."""
    load_timeout_s: PositiveFloat = 900.0
    """How long reading, exporting, compiling and warming up a model may take."""
    watch_interval_s: NonNegativeFloat = 2.0
    """How often the folder of models is checked for changes; 0: only when an admin call asks for it."""
    versions_kept: PositiveInt = 1
    """How many of the newest versions of each model are served at once."""
    cache_dir: Path | None = None
    """Where exported and compiled models are kept; the user's cache folder where unset."""

    # Cameras
    cameras: Path | None = None
    """A YAML file of cameras that callers may name: calibrations as OpenCV, Kalibr or ROS writes them."""

    # Devices
    backend: Literal["auto", "openvino", "torch", "simulated"] = "auto"
    """What runs the networks; `auto`: torch on CUDA where there is a GPU, else OpenVINO."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` for every GPU, or a list such as `cuda:0,cuda:1`."""
    instances: PositiveInt | None = None
    """Copies of each model per device, fed from one queue; the backend chooses where unset."""
    threads: PositiveInt | None = None
    """CPU threads of each instance; the cores divided among the instances where unset."""
    precision: Literal["auto", "float32", "tf32", "bfloat16", "float16"] = "auto"
    """`auto`: bfloat16 where the hardware computes in it (float16 on older GPUs), else float32. On CUDA,
    `tf32` multiplies float32 with 10 bits of its 24, and `float32` with all of them."""
    cuda_graphs: bool = True
    """Whether torch on CUDA records each batch size as a CUDA graph."""
    compile: bool | None = None
    """The old name of `DEPTH_CUDA_GRAPHS`, for one release more."""

    # Batching and admission
    max_batch: PositiveInt | None = None
    """The largest batch; chosen by the times measured during warm-up where unset."""
    batch_delay_s: NonNegativeFloat = 0.0
    """How long an idle device may wait for images that are being decoded."""
    queue_items: PositiveInt = 256
    """How many images may be accepted for one model and not yet predicted."""
    request_timeout_s: PositiveFloat = 30.0
    """The deadline of requests that name none, and the latest deadline of those that do."""
    hang_timeout_s: PositiveFloat = 20.0
    """A batch that takes longer counts as hung, and its backend is rebuilt."""
    backend_lost_s: PositiveFloat = 300.0
    """How long a model may be without a backend, while it is rebuilt, before `/livez` fails, so that an
    orchestrator replaces the process."""
    warm_up_timeout_s: PositiveFloat = 300.0
    """The same while a model is loaded: its first batches may compile, on a machine that is busy serving."""
    drain_timeout_s: PositiveFloat = 25.0
    """How long accepted requests may take to finish when the service stops."""

    # Codec
    codec_threads: PositiveInt | None = None
    """Threads that decode and encode images; one per core where unset."""
    max_image_pixels: PositiveInt = 33_554_432
    """The largest input image, in pixels as it is decoded; just over 8K UHD. A JPEG that is decoded at a
    fraction may have up to eight times as many."""
    max_depth_pixels: PositiveInt = 50_331_648
    """The largest depth map that is returned, in pixels; larger photographs need `size=model`."""
    scaled_decode: bool = True
    """Whether large JPEGs are decoded at a fraction of their size where the network sees no more."""
    max_pixels_bytes: PositiveInt = 2**30
    """Memory for all images that are being decoded, wait for a device, or are being written as depth."""
    json_max_pixels: PositiveInt = 262_144
    """The largest depth map that is written number by number: as JSON, or typed in a KServe response over
    gRPC."""
    ply_max_pixels: PositiveInt = 8_388_608
    """The largest point cloud, in pixels of its depth map."""
    colour_map: str = "turbo"
    """The colour map of requests that name none."""

    # Frontend
    host: str = "0.0.0.0"  # noqa: S104 - a service in a container is meant to be reached
    """The address to listen on; `::` listens on every address of both IPv6 and IPv4."""
    http_port: Port = 8000
    """The port of HTTP; 0: any free one."""
    grpc_port: Port = 8001
    """The port of gRPC; 0: any free one."""
    reuse_port: bool = False
    """Whether other processes of this user may listen on the same ports: the kernel then divides connections
    among them (Linux)."""
    tls_cert: Path | None = None
    """The server's certificate, with its chain, as a PEM file; without it both transports are
    unencrypted."""
    tls_key: Path | None = None
    """The private key of that certificate, as a PEM file."""
    tls_client_ca: Path | None = None
    """A PEM file of authorities; where set, clients of both transports must show a certificate that one
    of them signed."""
    api_keys: Path | None = None
    """A file of hashed keys, one a line; without it the transports need no key."""
    admin_key: SecretStr | None = None
    """The key of the admin calls; without it there are no admin calls."""
    admin_key_file: Path | None = None
    """A file that holds the admin key."""
    root_path: str = ""
    """The prefix under which a proxy shows the HTTP transport, such as `/depth`, whether it strips it or
    not."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages browsers let call this service, with commas between; `*` for all of them."""
    max_body_bytes: PositiveInt = 64 * 2**20
    """The largest request body; over gRPC, the largest message."""
    max_bodies_bytes: PositiveInt = 512 * 2**20
    """Memory for the bodies of all requests that are being read or processed at once."""
    max_answers_bytes: PositiveInt = 2**30
    """Memory for all depth that clients have not read yet, or that calls of several images are gathering."""
    max_request_json_bytes: PositiveInt = 4 * 2**20
    """The largest JSON of a KServe request; tensors come as binary data beside it."""
    max_request_numbers: PositiveInt = 262_144
    """The most numbers, lists and names in the JSON of a KServe request, or typed contents over gRPC."""
    max_unpacked_ratio: PositiveInt = 100
    """How many times larger a compressed body may become; the first MiB is free."""
    least_bytes_per_s: PositiveInt = 65_536
    """How fast a client has to read a response, in the mean over `stalled_peer_s`; slower clients are cut
    off."""
    max_head_bytes: PositiveInt = 65_536
    """The largest head of an HTTP request: its line and headers."""
    head_timeout_s: PositiveFloat = 10.0
    """How long the head of an HTTP request, or a TLS handshake, may take to arrive."""
    body_timeout_s: PositiveFloat = 30.0
    """How long a request body may take to arrive."""
    keep_alive_s: PositiveFloat = 75.0
    """How long an idle connection stays open; longer than load balancers keep theirs, 60 s as a rule."""
    max_connection_age_s: NonNegativeFloat = 600.0
    """After this time a gRPC connection is asked to open anew, so that its calls reach new servers; 0:
    never."""
    max_connection_age_grace_s: NonNegativeFloat = 0.0
    """How long calls and streams of such a connection may go on; 0: without a limit."""
    stalled_peer_s: PositiveFloat = 30.0
    """How long a client may read nothing of its response before its connection, or its gRPC stream, is
    cut."""
    max_connections: PositiveInt = 1024
    """HTTP connections that may be open at once; further ones are refused."""
    max_calls_per_connection: PositiveInt = 256
    """Calls of one gRPC connection that may run at once; the client holds further ones back."""
    max_calls: PositiveInt = 4096
    """gRPC calls that may be open at once, streams and health watches among them."""
    max_images_per_call: PositiveInt = 64
    """The most images in one batch call, or in one request of the protocol v2."""
    shared_memory_prefix: str = ""
    """How names of shared memory objects begin that clients of the protocol v2 may register; blank: none."""
    max_streams: PositiveInt = 64
    """Streams that may be open at once, WebSockets and gRPC together."""
    max_stream_frames: PositiveInt = 8
    """Frames of one stream that may be in flight at once."""
    stream_idle_timeout_s: PositiveFloat = 60.0
    """How long a stream may send no frame before it is closed."""
    linger_s: NonNegativeFloat = 0.5
    """How long a stopping service still accepts connections after readiness fell, so that load balancers
    hear of it and clients are told to close theirs."""
    ready_file: Path | None = None
    """A file that is written with both ports, as JSON, once the service is ready."""
    tracing: Literal["off", "otlp"] = "off"
    """Whether spans are exported, to where the OTEL_EXPORTER_OTLP_... variables say."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is logged."""

    @property
    def records_graphs(self) -> bool:
        """Whether CUDA graphs are recorded, by whichever name it was said."""
        return self.cuda_graphs if self.compile is None else self.compile

    @model_validator(mode="before")
    @classmethod
    def _drop_blank(cls, values: dict[str, object]) -> dict[str, object]:
        """Take a blank variable for an absent one: templates and compose files write both so."""
        return {
            name: value
            for name, value in values.items()
            if not (isinstance(value, str) and not value.strip())
        }

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, path: str) -> str:
        stripped = path.rstrip("/")
        if stripped and not re.fullmatch(r"(/[\w.~-]+)+", stripped):
            raise ValueError(f"{path!r} is no prefix of paths; expected /NAME, or /NAME/NAME and so on")
        return stripped

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
            raise ValueError("DEPTH_TLS_CERT and DEPTH_TLS_KEY are set together or not at all")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("DEPTH_TLS_CLIENT_CA needs DEPTH_TLS_CERT and DEPTH_TLS_KEY")
        if self.admin_key is not None and self.admin_key_file is not None:
            raise ValueError("DEPTH_ADMIN_KEY and DEPTH_ADMIN_KEY_FILE are both set; expected one of them")
        secrets = ("tls_cert", "tls_key", "tls_client_ca", "api_keys", "admin_key_file")
        for name in ("models", "foundation_weights", *secrets):
            path = getattr(self, name)
            if path is not None and not path.exists():
                raise ValueError(f"DEPTH_{name.upper()} is {path}, which does not exist")
        if self.ready_file is not None and not self.ready_file.absolute().parent.is_dir():
            raise ValueError(f"DEPTH_READY_FILE is {self.ready_file}, whose folder does not exist")
        return self
