"""Log lines as JSON objects, each with the request and the trace that it belongs to.

What it is not handed (headers, keys, images) cannot reach a line.
"""

import logging
import logging.config
import re
import secrets
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

from service.telemetry.tracing import current_trace

current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)
"""The id of the request that is being answered."""

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


def accept_request_id(offered: str | None) -> str:
    """Return the caller's own id where it is short and plain, else a new one."""
    if offered is not None and _ACCEPTABLE_ID.fullmatch(offered):
        return offered
    return secrets.token_hex(16)


class JsonFormatter(logging.Formatter):
    """Writes a record, and whatever ``extra`` it was given, as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its newline."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = current_request_id.get()
        if request_id is not None:
            line["request_id"] = request_id
        trace = current_trace.get()
        if trace is not None:
            line["trace_id"] = trace.trace_id
            line["span_id"] = trace.span_id
        line.update({name: value for name, value in vars(record).items() if name not in _STANDARD})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(level: str) -> None:
    """Send every logger's lines to standard error as JSON; the servers' own access logs are left out."""
    logging.captureWarnings(True)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonFormatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"handlers": ["stderr"], "level": level.upper()},
            "loggers": {
                "uvicorn.access": {"propagate": False, "level": "CRITICAL"},
                "uvicorn.error": {"level": "WARNING"},  # its word on a WebSocket names the whole query
            },
        }
    )
