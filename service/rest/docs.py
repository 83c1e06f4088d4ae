"""The interactive documentation at ``/docs``, from files of our own, so that it needs no network."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_FILES = Path(__file__).parent / "swagger"
"""swagger-ui-dist 5.35.0, unchanged, with its licence."""


def add_docs(app: FastAPI) -> None:
    """Serve the documentation of an application from itself."""
    app.mount("/docs/files", StaticFiles(directory=_FILES), name="docs-files")

    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=app.title,
            swagger_js_url=f"{root}/docs/files/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/files/swagger-ui.css",
            swagger_favicon_url=f"{root}/docs/files/favicon-32x32.png",
            # The validator would send the document to a server on the internet.
            swagger_ui_parameters={"validatorUrl": None, "tryItOutEnabled": True},
        )

    app.add_route("/docs", docs, include_in_schema=False)
