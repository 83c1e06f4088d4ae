"""What the service reports of itself: logs, traces and metrics."""
