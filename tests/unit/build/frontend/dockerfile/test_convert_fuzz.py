"""Dockerfiles at random: a conversion ends in a graph that can be encoded and decoded, or in an error for people."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from boatyard.build.frontend.base import FrontendRequest
from boatyard.build.frontend.dockerfile.frontend import build
from boatyard.build.llb import codec
from boatyard.build.llb.graph import Graph
from boatyard.errors import BoatyardError
from unit.build.frontend.dockerfile.converting import Yard

WORD = st.sampled_from(
    [
        "a",
        "b c",
        "$A",
        "${A:-x}",
        "${B",
        "'q",
        '"d"',
        "/x/",
        "..",
        "*",
        "é",
        "\\",
        "<<EOF",
        "0",
        "s0",
        "s1",
        "scratch",
        "--x",
    ]
)
TEMPLATES = [
    "FROM {} AS s0",
    "FROM {}",
    "FROM s0 AS {}",
    "FROM --platform={} busybox",
    "ARG A={}",
    "ARG {}",
    "ENV A={} B={}",
    "RUN {}",
    "RUN --mount=type={},target={} x",
    "RUN --mount=from={},source={},target=/m x",
    "RUN <<EOF\n{}\nEOF",
    "COPY {} {}",
    "COPY --from={} --link {} /d",
    "COPY --parents --chown={} --chmod={} a /d",
    "ADD {} {} /d/",
    "ADD --checksum={} https://example.org/{} /d/",
    "COPY <<EOF {}\n{}\nEOF",
    "WORKDIR {}",
    "USER {}",
    "EXPOSE {}",
    "VOLUME {}",
    "LABEL {}={}",
    "CMD {}",
    'ENTRYPOINT ["{}"]',
    "ONBUILD {} {}",
    "HEALTHCHECK CMD {}",
    "STOPSIGNAL {}",
    'SHELL ["{}", "-c"]',
]
LINE = st.builds(
    lambda template, words: template.format(*words), st.sampled_from(TEMPLATES), st.lists(WORD, min_size=2, max_size=2)
)
FILE = st.lists(LINE, max_size=8).map(lambda lines: "\n".join(["FROM busybox AS s1", *lines, ""]))
OPTIONS = st.dictionaries(
    st.sampled_from(["target", "build-arg:A", "platform", "context:a", "no-cache", "requestid"]),
    st.sampled_from(
        ["a", "s0", "s1", "linux/arm64,linux/amd64", "docker-image://x", "frontend.lint", "frontend.outline", ""]
    ),
    max_size=3,
)


def convert(data: bytes, options: dict[str, str]) -> None:
    bridge = Yard({"local://dockerfile": {"Dockerfile": data}, "local://context": {}})
    try:
        result = asyncio.run(build(bridge, FrontendRequest(options)))
    except BoatyardError as error:
        assert error.message
        return
    for image in result.images:
        graph = Graph(image.edge, result.files)
        assert codec.encode(codec.decode(codec.encode(graph))) == codec.encode(graph)


@settings(max_examples=200, deadline=None)
@given(FILE, OPTIONS)
def test_any_mix_of_instructions(dockerfile: str, options: dict[str, str]) -> None:
    convert(dockerfile.encode(), options)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    convert(b"FROM busybox\n" + data, {})
