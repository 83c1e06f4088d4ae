"""``depth-predict``: photographs and videos on the command line, through the same parts as the service.

It opens a backend itself: no queue, no registry, no transport.
"""
