"""Frontends outside of the builder: programs in containers that speak LLBBridge on their standard input and output.

    image.py         which image `source` names, and what it can do
    frontend.py      `gateway.v0`: a frontend image as a frontend
    python.py        `python.v0`: a file of the client's, or an installed package, in the daemon's own Python
    sandbox.py       what of this host such a Python sees
    guest.py         a guest's process, from its start to its result
    conversation.py  who serves LLBBridge to it, as a protocol

Specification: moby/buildkit `frontend/gateway` (reference/builder.md 3.2, 5.7).
"""
