"""Names below a directory that somebody else may be changing: which of them patterns choose, and how to reach them
without ever leaving it. For the builder, which reads such directories, and for sessions, which send and receive them.

patterns.py  ignore patterns and wildcards
filter.py    which names of a directory include, exclude and followed paths leave in
beneath.py   opening what is below a directory, whatever links say
spelling.py  one spelling for each path
"""
