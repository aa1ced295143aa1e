"""HTTP/2 (RFC 9113), both ends, as far as gRPC needs it: no push, no priorities, no trailers but at the end.

`connection` speaks the protocol over any asyncio transport, `stream` is one exchange on it, `frames` and `headers` know
the formats. What the messages of a stream are is the business of who subclasses `Stream` (`wire.grpc`).
"""
