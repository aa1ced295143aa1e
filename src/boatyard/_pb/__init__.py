"""Generated protobuf code and the .proto files it is made from, which are ours.

`X_pb2` holds messages, `X_grpc` a service's two ends for grpclib. Their package, service and method names are the paths
on the wire. `./dev protos` makes them anew (`dev_tasks/protos.py`). Only those import it who speak protobuf:
`build.llb.codec`, `session`, `api.buildkit`, `wire.grpc`. Timestamps and the like come from `wellknown`.
"""
