"""Logs: taken from the first line in memory, read from there, and written to files that rotate.

`memlogd` takes descriptors and keeps lines, `logread` and `logwrite` read them, `kmsg` brings the kernel's.
`LogSink` (`logs.sink`) is all of it for the rest of Boatyard. Nothing is imported here: memlogd starts before
anything else, and must be small.
"""
