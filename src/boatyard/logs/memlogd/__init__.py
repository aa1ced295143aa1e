"""The log daemon: descriptors in, lines kept in bounded memory, lines out.

One thread, one event loop. What arrives is kept as the pieces it was read in (`chunk.py`): newlines are counted,
lines are split only when somebody reads them. Nothing of Boatyard is imported but `boatyard.logs`: it starts first.
"""
