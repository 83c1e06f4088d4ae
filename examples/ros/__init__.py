"""Depth for ROS 2: a bridge from camera topics to depth topics, and from recorded bags to bags with depth."""
