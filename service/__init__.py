"""The depth service: depth maps over HTTP and gRPC, from images and from live video."""
