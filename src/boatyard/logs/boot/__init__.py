"""The boot in two phases: what has to be done once, one after the other; then services, all at once.

Read from LinuxKit's image definitions. Each item is an OCI container, or a plain process, and its output goes to
memlogd from the first instruction on. `supervisor.py` is the page to read first.
"""
