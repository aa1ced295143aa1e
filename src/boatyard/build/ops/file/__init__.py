"""The file op: copy, make files, directories and links, remove.

step.py     the op: its key, and the states its actions go through
actions.py  one action on a draft of a layer
unpack.py   archives that ADD unpacks
owner.py    users and groups by name
mode.py     modes as chmod(1) takes them
"""

from boatyard.build.ops.file.step import FileStep

__all__ = ["FileStep"]
