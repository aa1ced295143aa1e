"""Boatyard: build, ship and run OCI images."""

__version__ = "0.1.0"

BUILDKIT_VERSION = f"v0.32.2+boatyard.{__version__}"
"""What BuildKit's clients are told: the version whose API this speaks. They allow themselves features by comparing it,
for which the part after the plus sign doesn't count (semantic versioning, 10)."""
