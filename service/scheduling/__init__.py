"""When work runs: whose turn it is, batches for devices, threads for codecs, and what both will take."""
