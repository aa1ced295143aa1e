"""Changes of the image store as events for whoever watches the daemon."""

from __future__ import annotations

from collections.abc import Mapping

from boatyard.engine.events import Events
from boatyard.errors import BoatyardError
from boatyard.image import documents
from boatyard.image import reference as references
from boatyard.image.content.store import Provider
from boatyard.image.spec import Descriptor
from boatyard.image.store import Change


class ImageHappenings:
    """One per daemon. `change` is what the image store tells; the rest, those who do more than change it. May be used
    from any thread."""

    def __init__(self, events: Events, content: Provider) -> None:
        self._events = events
        self._content = content

    def change(self, change: Change) -> None:
        id, labels = self._describe(change.target)
        name = references.parse(change.name).familiar() if change.name else id
        self._events.publish("image", change.action, id, {**labels, "name": name})

    def _describe(self, target: Descriptor) -> tuple[str, Mapping[str, str]]:
        """The image's ID and labels; of a damaged one, what is known."""
        try:
            found = documents.read_image(self._content, target)
        except BoatyardError:
            return target.digest, {}
        return found.manifest.config.digest, found.config.config.labels

    def loaded(self, action: str, id: str) -> None:
        """`load`, `import` or `save`."""
        self._events.publish("image", action, id, {"name": id})

    def pruned(self, kind: str, reclaimed: int) -> None:
        """`kind`: image or builder."""
        self._events.publish(kind, "prune", "", {"reclaimed": str(reclaimed)})
