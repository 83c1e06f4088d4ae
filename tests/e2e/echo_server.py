"""The whole service as a process, with an engine in it that takes its time and then echoes."""

import asyncio
import os
import sys

import uvloop

from service.contract.answer import DepthAnswer
from service.contract.request import DepthRequest
from service.engine import Turn
from service.lifespan import serve
from service.settings import Settings
from service.telemetry.logs import configure_logging
from tests.service.echo import EchoEngine

DELAY_S = float(os.environ.get("ECHO_DELAY_S", "0"))


class SlowEngine(EchoEngine):
    async def depth(self, request: DepthRequest, turn: Turn | None = None) -> DepthAnswer:
        if request.model == "slow":
            await asyncio.sleep(3600)
        await asyncio.sleep(DELAY_S)
        return await super().depth(request, turn)


if __name__ == "__main__":
    settings = Settings()
    configure_logging(settings.log_level)
    status = uvloop.run(serve(settings, SlowEngine))
    sys.stderr.flush()
    os._exit(status) if status > 128 else sys.exit(status)
