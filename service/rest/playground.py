"""The playground: a page to try the service on, and nothing that the service needs.

The page asks the same calls that everybody asks.
"""

import json
import os
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import Scope

from service.contract.formats import Format

STATIC = Path(__file__).parents[1] / "web" / "static"

_OWN_ONLY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",  # photographs that are dropped, and what is taken from canvases
        "media-src 'self' blob:",
        "frame-ancestors 'self'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
"""The page asks nothing of other hosts, and the browser sees to it."""
_HEADERS = {
    "content-security-policy": _OWN_ONLY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # an old page with new scripts would be neither
}


class _PageFiles(StaticFiles):
    """Files that a browser asks about again before it uses its copy, so that an upgrade is whole."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Serve a file."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["cache-control"] = "no-cache"
        return response


def add_playground(app: FastAPI) -> None:
    """Serve the page at ``/`` and its files under ``/static``."""
    formats = {
        one: (one.spec.title, one.spec.note, one.spec.suffix, one.spec.unit == "metre")
        for one in Format
        if one.is_available
    }
    script = f"export const FORMATS = {json.dumps(formats)};\n"

    @app.get("/static/formats.js", include_in_schema=False)
    async def formats_script() -> Response:
        return Response(script, headers=_HEADERS, media_type="text/javascript")

    app.mount("/static", _PageFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers=_HEADERS)
