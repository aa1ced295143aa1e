"""Options of a request, and their way through the environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boatyard.errors import InvalidError
from boatyard.frontend import options


def test_options_are_read() -> None:
    found = options.parse(
        {
            "filename": "image.yaml",
            "target": "t",
            "build-arg:A": "1",
            "label:l": "v",
            "platform": "linux/amd64,linux/arm64",
            "no-cache": "",
            "requestid": "frontend.lint",
            "image-resolve-mode": "local",
        }
    )
    assert (found.filename, found.target, found.arguments, found.labels) == ("image.yaml", "t", {"A": "1"}, {"l": "v"})
    assert [str(platform) for platform in found.platforms] == ["linux/amd64", "linux/arm64"]
    assert found.multi_platform and found.no_cache
    assert (found.question, found.resolve_mode) == ("frontend.lint", "local")
    assert options.parse({}).question == ""
    with pytest.raises(InvalidError):
        options.parse({"platform": "not/a/platform/at/all"})


@given(st.dictionaries(st.text("abc:-=", min_size=1).filter(lambda name: "=" not in name), st.text("a=\n\"' ")))
def test_options_survive_the_environment(raw: dict[str, str]) -> None:
    assert options.from_environment({"PATH": "/bin", **options.to_environment(raw)}) == raw
