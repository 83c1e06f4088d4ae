"""The counter: photographs in, depth maps out, over HTTP and gRPC alike.

It does not know how networks are trained, and only its torch backend knows torch.
"""
