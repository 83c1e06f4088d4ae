"""The small questions: does it live, is it ready, which models, how is it doing."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, ConfigDict

from service.contract.errors import NotReady, Unavailable
from service.transports.frontend import Frontend

_PLAIN = "text/plain; charset=utf-8"


class ModelCard(BaseModel):
    """One version of a model that can be asked for."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)

    name: str
    version: str
    state: Literal["loading", "ready", "rebuilding", "draining", "failed"]
    default: bool
    """Whether it answers requests that name no model."""
    current: bool
    """Whether it answers requests that name no version."""
    unit: Literal["metre", "relative"]
    """Of its depth, without an anchor."""
    height: int
    """The size in pixels at which it sees images; photographs of four to three where that varies."""
    width: int
    min_depth: float
    """The nearest and farthest depth that it can answer, in `unit`; zeros where nobody knows."""
    max_depth: float
    backend: str
    """What runs it."""
    max_batch: int
    affine: bool
    """Whether its depth's inverse is known up to a factor and a shift: two known points make metres."""
    licence: str
    """Of its weights; empty where none is stated."""
    problem: str | None
    """Why it failed to load."""


class FileCard(BaseModel):
    """A file in the models' folder that is not served."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)

    file: str
    reason: str


class ModelList(BaseModel):
    """Every model, and every file beside them that is not served."""

    models: list[ModelCard]
    not_served: list[FileCard]


def house_router(frontend: Frontend) -> APIRouter:
    """Serve these questions about an engine and its transports."""
    router = APIRouter()

    @router.get("/livez", summary="Does the process live?", response_class=Response, tags=["operation"])
    async def livez() -> Response:
        """Answers 200, or 503 where only a new process helps."""
        if not frontend.engine.live:
            raise Unavailable("backends have hung; this process should be replaced")
        return Response("ok\n", media_type=_PLAIN)

    @router.get(
        "/readyz", summary="Should requests be sent here?", response_class=Response, tags=["operation"]
    )
    async def readyz() -> Response:
        """Answers 200, or 503 while models load, are rebuilt, or the server is closing."""
        if not frontend.ready:
            raise NotReady("not ready", retry_after_s=1.0)
        return Response("ok\n", media_type=_PLAIN)

    @router.get("/metrics", summary="Figures for Prometheus", response_class=Response, tags=["operation"])
    async def metrics(request: Request) -> Response:
        """Answers in the text format of Prometheus or, where Accept asks for it, of OpenMetrics."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(frontend.metrics.registry), headers={"content-type": content_type})

    @router.get("/v1/models", summary="Which models can be asked for?", tags=["depth"])
    async def models() -> ModelList:
        """Lists every version of every model."""
        engine = frontend.engine
        return ModelList(
            models=[ModelCard.model_validate(info) for info in engine.models()],
            not_served=[FileCard.model_validate(file) for file in engine.not_served()],
        )

    return router
