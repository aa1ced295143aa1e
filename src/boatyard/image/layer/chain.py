"""A layer and a chain of layers: what steps of a build hand to each other.

A layer is known by its snapshot, by its blob, or by both; a *chain* is a tuple of layers, lowest first: a root file
system. Layers are rows of the layer store (`image.layer.store`), which turns one form into the other when somebody
needs it: files by unpacking the blob, bytes by packing the snapshot.
"""

from __future__ import annotations

from typing import NewType

LayerId = NewType("LayerId", str)
"""Names a row of the layer store. Opaque; stable over restarts."""

Chain = tuple[LayerId, ...]
"""A root file system, lowest layer first. `()` is the empty one ("scratch")."""
