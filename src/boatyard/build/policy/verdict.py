"""A client that judges for itself: what it is told of a source, and what it answers.

BuildKit's `PolicyVerifier` session service, in the builder's own words; `api.buildkit` speaks it over the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from boatyard.build.llb.graph import SourceOp
from boatyard.build.policy.rule import Action
from boatyard.build.source.meta import MetaQuestion, SourceMeta
from boatyard.image.platform import Platform


@dataclass(frozen=True, slots=True)
class Verdict:
    """`update` is what CONVERT puts in the source's place; `messages` are why it is denied."""

    action: Action
    messages: tuple[str, ...] = ()
    update: SourceOp | None = None


class Verifier(Protocol):
    """The client's end, for one build."""

    async def check(self, known: SourceMeta, platform: Platform | None) -> Verdict | MetaQuestion:
        """Judge a source, or ask for more about it: then this is called again, with the answer."""
