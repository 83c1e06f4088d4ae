"""The whole service as a process, with an engine in it that takes its time and then echoes."""

import asyncio
import os
import sys

import uvloop

from service.answer import DepthAnswer
from service.engine import Adjust
from service.lifespan import serve
from service.logs import configure_logging
from service.request import DepthRequest
from service.settings import Settings
from tests.service.echo import EchoEngine

DELAY_S = float(os.environ.get("ECHO_DELAY_S", "0"))


class SlowEngine(EchoEngine):
    async def depth(self, request: DepthRequest, adjust: Adjust | None = None) -> DepthAnswer:
        if request.model == "slow":
            await asyncio.sleep(3600)
        await asyncio.sleep(DELAY_S)
        return await super().depth(request, adjust)


if __name__ == "__main__":
    settings = Settings()
    configure_logging(settings.log_level)
    status = uvloop.run(serve(settings, SlowEngine))
    sys.stderr.flush()
    os._exit(status) if status > 128 else sys.exit(status)
