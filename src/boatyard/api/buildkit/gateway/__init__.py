"""What frontends outside of the builder call: BuildKit's LLBBridge.

`guest.py` is one such frontend as the builder sees it: the references and containers it holds, and its result.
`service.py` are the methods. A guest lives in a client (`registry.py` finds it by the build's ref), or in a container.

Specification: moby/buildkit `frontend/gateway/pb/gateway.proto`, `frontend/gateway/gateway.go`.
"""
