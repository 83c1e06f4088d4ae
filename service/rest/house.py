"""The small questions: does it live, is it ready, which models, how is it doing.

It does not know depth.
"""

from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, ConfigDict

from service.doors import Doors
from service.errors import NotReady, Unavailable

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
    """The size in pixels at which it sees images."""
    width: int
    min_depth: float
    """The nearest and farthest depth that it can answer, in `unit`."""
    max_depth: float
    backend: str
    """What runs it."""
    max_batch: int
    problem: str | None
    """Why it failed to load."""


class ModelList(BaseModel):
    """Every model."""

    models: list[ModelCard]


def house_router(doors: Doors) -> APIRouter:
    """Answer these questions about an engine and its doors."""
    router = APIRouter()

    @router.get("/livez", summary="Does the process live?", response_class=Response, tags=["operation"])
    async def livez() -> Response:
        """Answers 200, or 503 where only a new process helps."""
        if not doors.engine.live:
            raise Unavailable("backends have hung; this process should be replaced")
        return Response("ok\n", media_type=_PLAIN)

    @router.get(
        "/readyz", summary="Should requests be sent here?", response_class=Response, tags=["operation"]
    )
    async def readyz() -> Response:
        """Answers 200, or 503 while models load, are rebuilt, or the server is closing."""
        if not doors.ready:
            raise NotReady("not ready", retry_after_s=1.0)
        return Response("ok\n", media_type=_PLAIN)

    @router.get("/metrics", summary="Figures for Prometheus", response_class=Response, tags=["operation"])
    async def metrics(request: Request) -> Response:
        """Answers in the text format of Prometheus or, where Accept asks for it, of OpenMetrics."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(doors.metrics.registry), headers={"content-type": content_type})

    @router.get("/v1/models", summary="Which models can be asked for?", tags=["depth"])
    async def models() -> ModelList:
        """Lists every version of every model."""
        return ModelList(models=[ModelCard.model_validate(info) for info in doors.engine.models()])

    return router
