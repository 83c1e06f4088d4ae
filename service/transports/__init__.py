"""What HTTP and gRPC share: keys and rates, byte budgets, limits and streams."""
