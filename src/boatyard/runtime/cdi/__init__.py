"""Devices of the Container Device Interface: what vendors say a container needs to use a device of theirs.

    document   a specification file as values
    registry   the files of some directories, and the devices in them

Specification: github.com/cncf-tags/container-device-interface, SPEC.md; annotations are BuildKit's.
"""
