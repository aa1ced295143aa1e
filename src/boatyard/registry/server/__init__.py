"""The registry server: `boat registry serve`, and the registry of our own tests.

    route        what a request's path names, checked against the grammar
    refusal      the errors of the distribution API, with their codes
    records      rows: which repository has which blobs, manifests and tags (SQLite; several processes)
    store        blobs on disk, and uploads on their way there; objects: in an S3-compatible store
    mirror       what another registry has, fetched when somebody asks for it
    guard        who is asking, and may they? accounts, grants, password, totp, jwt, tokens, rates
    collection   garbage, while clients push and pull
    metrics, browsing, selfservice   what other registries have elsewhere
    manifest     what a manifest says of itself
    blobs, uploading, manifests, listing    the calls of the distribution API
    application  a request's way to its call and back
    serving      sockets, worker processes, their life

Requests are answered on the event loop where that takes microseconds (rows, manifests in memory) and in threads where
it may take longer (hashing, disks). HTTP's status codes are chosen here: they are the API's vocabulary.

Specification: OCI distribution-spec 1.1.
"""
