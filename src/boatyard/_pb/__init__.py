"""Generated protobuf code and the .proto files it is made from, which are ours.

`./dev protos` makes it anew (`dev_tasks/protos.py`). Only codecs import it: `build.llb.codec` knows `ops`.
"""
