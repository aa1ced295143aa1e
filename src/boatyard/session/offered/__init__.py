"""What a client of ours serves on its session.

server.py        the session as a whole
filesync.py      directories, to the daemon
filesend.py      outputs, from the daemon
secrets.py, sshforward.py, upload.py, content.py
                 secrets, agents, streams, content stores
auth.py          registry credentials: login.py is what there may be of them, tokens.py gets tokens with them
failure.py       errors of ours as the daemon is told them
"""
