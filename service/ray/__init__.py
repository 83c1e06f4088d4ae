"""The service on a Ray cluster: every replica is a whole engine, behind Ray Serve's own proxies."""
