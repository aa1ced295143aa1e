"""What boatd answers BuildKit's clients: its gRPC services, over `build.service` and the sessions of clients.

Read `control.py` first: a solve request from its message to its answer. `gateway/` is what a frontend outside of the
builder calls, in the client or in a container.
"""
