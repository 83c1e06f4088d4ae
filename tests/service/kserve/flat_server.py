"""The whole service as a process, with flat depth behind every transport."""

import sys

import uvloop

from service.lifespan import serve
from service.settings import Settings
from service.telemetry.logs import configure_logging
from tests.service.kserve.flat import FlatEngine

if __name__ == "__main__":
    settings = Settings()
    configure_logging(settings.log_level)
    sys.exit(uvloop.run(serve(settings, FlatEngine)))
