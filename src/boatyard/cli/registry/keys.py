"""This user's credentials, handed to the daemon when a registry asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from boatyard.client.credentials import Answer, offered
from boatyard.client.descriptors import DescriptorChannel
from boatyard.client.offering import Offering


@contextmanager
def offered_credentials(channel: Offering, environment: Mapping[str, str]) -> Iterator[str]:
    """The token that a request names. Nothing is read before the daemon asks."""
    if not isinstance(channel, DescriptorChannel):
        yield channel.session  # which is asked for credentials, too
        return

    def find(host: str) -> Answer:
        from boatyard.registry.dockerconfig import DockerConfig

        found = DockerConfig.default(environment).get(host)
        if found is None:
            return Answer()
        return Answer(found.username, found.password, found.identity_token, found.registry_token)

    with offered(channel, find) as token:
        yield token
