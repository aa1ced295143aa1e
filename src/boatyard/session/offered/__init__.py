"""What a client of ours serves on its session: directories, places for outputs, secrets, agents, uploads, credentials,
content stores.

server.py     the session as a whole
filesync.py   directories, to the daemon
filesend.py   outputs, from the daemon
"""
