"""The counter: depth over HTTP and gRPC, from images and from live video."""
