"""gRPC over `wire.http2`, both ends, with grpclib's face: services and stubs are those that `./dev protos` generates.

`server` answers calls on any connection that is handed to it, `channel` makes calls on one. `call` and `clientcall` are
one call, seen from either end; `messages` is the stream of messages both are made of. `details` are the details of
errors. This package is loaded with the first gRPC connection: nothing that starts early may import it.

Specification: gRPC over HTTP/2 (PROTOCOL-HTTP2).
"""
