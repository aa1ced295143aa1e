"""A BuildKit session, both ends.

A client of the daemon connects, and then the roles turn: on that connection the client serves (its directories,
secrets, agents, credentials, places for outputs), and the daemon calls. The daemon's end is in this package; what a
client of ours serves is in `offered`.

announcement.py  what a session says of itself when it connects
session.py       one live session
registry.py      all of them, and waiting for one that is on its way
health.py        whether the client is still there
failure.py       how errors of calls are told

filesync.py      a directory of the client's, received into one of ours; mirrors.py keeps those from build to build
filesend.py      results to the client
auth.py, secrets.py, sshforward.py, upload.py, content.py, exporter.py
                 the other services, one typed caller each
fsutil/          the protocol in which trees of files travel

Knows nothing of builds. Specification: moby/buildkit, `session/`.
"""
