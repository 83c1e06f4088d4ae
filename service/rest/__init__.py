"""The HTTP transport: paths and OpenAPI by FastAPI; bodies, read and bounded, by plain ASGI."""
