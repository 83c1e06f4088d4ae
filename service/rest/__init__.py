"""The HTTP door: FastAPI for the map of it, plain ASGI where images pass through."""
