"""One batch to losses: networks, view synthesis and distillation put together."""
