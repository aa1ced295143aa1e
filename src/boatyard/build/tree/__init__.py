"""Trees of files as the steps of a build read them.

node.py      one name with its metadata; what a tree is (a protocol)
lookup.py    names in a tree: symbolic links, wildcards, patterns
checksum.py  content keys: which files, and their digest
layers.py    a tree that is a chain of layers, merged without a mount
scan.py      a tree that is a directory of the client's, read in place
index.py     what is known of such a directory from last time, so that unchanged files are not read
"""
