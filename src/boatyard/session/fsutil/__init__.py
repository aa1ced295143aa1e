"""A tree of files on the wire: fsutil's protocol.

The sender lists what there is (STAT), the receiver asks for what it lacks (REQ) and gets it (DATA); FIN both ways.

packet.py     messages, as bytes
entry.py      one name of a list: what STAT says
order.py      what a list must be like
receiver.py   the receiving side: a pure machine, messages in, messages out, files written on the way
target.py     the directory it writes to
known.py      what is in that directory already
sender.py     the sending side, alike
walk.py       what there is to send
transfer.py   both, driven over a call

The machines know files and messages, and block; nothing of calls. Specification: tonistiigi/fsutil, `receive.go`.
"""
