"""When work runs: batches for devices, threads for codecs, and how long both are expected to take."""
