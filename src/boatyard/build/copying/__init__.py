"""Writing files into a snapshot that is still active.

destination.py  the snapshot's own directory, together with what the layers below show through it
copy.py         trees of files into a destination
content.py      the bytes of one file: by link, by reflink, by copying what is not a hole
reuse.py        which snapshot has which file of a client's directory, so that an unchanged one is linked from there
memory.py       what the daemon remembers of clients' directories from build to build
"""
