"""The HTTP transport: FastAPI for the map of it, plain ASGI where images pass through."""
