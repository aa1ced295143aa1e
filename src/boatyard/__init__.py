"""Boatyard: build, ship and run OCI images."""

__version__ = "0.1.0"
