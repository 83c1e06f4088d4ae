"""Admin calls: reload models and drop them. They need a key of their own, and are absent without it."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from service.transports.auth import AdminKey, bearer_key
from service.transports.frontend import Frontend


def admin_router(frontend: Frontend, admin_key: AdminKey) -> APIRouter:
    """Serve calls that carry the admin key."""
    router = APIRouter(
        prefix="/admin", tags=["admin"], dependencies=[Depends(_asks_for(admin_key))], responses={401: {}}
    )

    @router.post("/reload", status_code=204, response_class=Response)
    async def reload_all() -> None:
        """Looks through the models' folder now, and loads what changed."""
        await frontend.engine.reload()

    @router.post("/models/{name}/load", status_code=204, response_class=Response)
    @router.post("/models/{name}/reload", status_code=204, response_class=Response)
    async def reload(name: str) -> None:
        """Loads a model from its files, warm, before it takes the place of what is served under its name."""
        await frontend.engine.reload(name)

    @router.post("/models/{name}/unload", status_code=204, response_class=Response)
    async def unload(name: str) -> None:
        """Answers what the model was asked already, then lets it go."""
        await frontend.engine.unload(name)

    return router


def _asks_for(admin_key: AdminKey) -> Callable[[str | None], None]:
    def ask(authorization: Annotated[str | None, Header()] = None) -> None:
        admin_key.check(bearer_key(authorization, None))

    return ask
