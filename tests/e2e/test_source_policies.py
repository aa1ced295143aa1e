"""Source policies, as a user meets them: sources denied, turned into others, pinned."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from e2e.project import Project, outcomes, printed
from e2e.served import Served
from e2e.yard import Yard

pytestmark = pytest.mark.runtime

BUSYBOX = "docker-image://docker.io/library/busybox:latest"


def rule(action: str, selected: str, **updates: Any) -> dict[str, Any]:
    return {"action": action, "selector": {"identifier": selected}, **({"updates": updates} if updates else {})}


@pytest.fixture
def project(yard: Yard, tmp_path: Path) -> Project:
    return Project(yard, tmp_path / "policed")


@pytest.fixture
def policy(tmp_path: Path) -> Any:
    def write(*rules: dict[str, Any]) -> str:
        path = tmp_path / "policy.json"
        path.write_text(json.dumps({"version": 1, "rules": rules}))
        return f"--source-policy-file={path}"

    return write


def digest(yard: Yard) -> str:
    return yard.run("image", "inspect", "--format", "{{.Digest}}", "busybox").stdout.strip()


def test_a_denied_base_image_is_told_with_its_rule_and_line(project: Project, policy: Any) -> None:
    project.dockerfile("# a remark\nFROM busybox AS base\nRUN true\n")
    told = project.fails(policy(rule("ALLOW", "*"), rule("DENY", "docker-image://*")))
    assert "2 | >>> FROM busybox AS base" in told
    assert f"{BUSYBOX} by rule 2 of policy.json (DENY docker-image://*)" in told
    assert "fix:" in told


@pytest.mark.parametrize("line", ["COPY --from=busybox /bin /bin", "RUN --mount=from=busybox,target=/b true"])
def test_images_are_denied_wherever_they_are_used(project: Project, policy: Any, line: str) -> None:
    project.dockerfile(f"FROM scratch\n{line}\n")
    told = project.fails(policy(rule("DENY", BUSYBOX)))
    assert f"2 | >>> {line}" in told
    assert "by rule 1 of policy.json" in told


def test_a_denied_download_is_told_with_its_line_and_never_asked_for(
    project: Project, policy: Any, served: Served
) -> None:
    (served.directory / "file").write_text("x")
    project.dockerfile(f"FROM scratch\nADD {served.url}/file /\n")
    told = project.fails(policy(rule("DENY", "http://*")))
    assert f"2 | >>> ADD {served.url}/file /" in told
    assert "by rule 1 of policy.json" in told
    assert served.answers == []


def test_the_context_is_a_source_too(project: Project, policy: Any) -> None:
    project.write({"Dockerfile": "FROM scratch\nCOPY file /\n", "file": "x"})
    told = project.fails(policy(rule("DENY", "local://context")))
    assert "source denied by policy: local://context by rule 1" in told


def test_an_image_is_turned_into_another_one_and_the_log_says_so(project: Project, policy: Any) -> None:
    project.dockerfile("FROM registry.test/base/linux:7\nRUN echo it is busybox\n")
    told = project.build(policy(rule("CONVERT", "docker-image://registry.test/base/*:*", identifier=BUSYBOX)))
    assert "it is busybox" in printed(told)
    assert (
        f"[internal] source policy: docker-image://registry.test/base/linux:7 becomes {BUSYBOX} "
        "by rule 1 of policy.json" in told
    )


def test_a_pinned_image_keeps_its_name_and_its_cache(project: Project, policy: Any) -> None:
    project.dockerfile("FROM busybox\nRUN echo pinned\n")
    name = f"FROM docker.io/library/busybox:latest@{digest(project.yard)}"
    assert name in outcomes(project.build())
    pinned = f"docker-image://docker.io/library/busybox@{digest(project.yard)}"
    flag = policy(rule("CONVERT", BUSYBOX + "*", identifier=pinned))
    told = project.build(flag, "--explain")
    assert outcomes(told) == {name: outcomes(told)[name], "RUN echo pinned": "CACHED"}
    assert name in project.yard.run("builder", "history", "latest").stdout


def test_an_image_pinned_to_what_is_not_there_is_not_found(project: Project, policy: Any) -> None:
    project.dockerfile("FROM busybox\n")
    told = project.fails(policy(rule("CONVERT", BUSYBOX, identifier=f"{BUSYBOX}@sha256:{'a' * 64}")))
    assert "1 | >>> FROM busybox" in told
    assert f"busybox:latest@sha256:{'a' * 64} is not in the local store" in told


def test_an_image_with_another_digest_than_its_checksum_is_refused(project: Project, policy: Any) -> None:
    project.dockerfile("FROM busybox\nRUN true\n")
    update = {"attrs": {"image.checksum": f"sha256:{'b' * 64}"}}
    told = project.fails(policy(rule("CONVERT", "docker-image://*", **update)))
    assert f"has the digest {digest(project.yard)}, but the checksum asks for sha256:{'b' * 64}" in told
    update = {"attrs": {"image.checksum": digest(project.yard)}}
    project.build(policy(rule("CONVERT", "docker-image://*", **update)))


def test_a_download_is_pinned_to_a_checksum(project: Project, policy: Any, served: Served) -> None:
    (served.directory / "file").write_text("x")
    project.dockerfile(f"FROM scratch\nADD {served.url}/file /\n")
    good = {"attrs": {"http.checksum": f"sha256:{hashlib.sha256(b'x').hexdigest()}"}}
    bad = {"attrs": {"http.checksum": f"sha256:{'c' * 64}"}}
    assert project.tree(policy(rule("CONVERT", f"{served.url}/*", **good))).text("file") == "x"
    told = project.fails(policy(rule("CONVERT", f"{served.url}/*", **bad)))
    assert f"the checksum asks for sha256:{'c' * 64}" in told


def test_the_environment_may_name_the_policy(project: Project, policy: Any, tmp_path: Path) -> None:
    project.dockerfile("FROM busybox\n")
    policy(rule("DENY", "docker-image://*"))
    project.environment["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"] = str(tmp_path / "policy.json")
    assert "by rule 1 of policy.json" in project.fails()
    project.environment["EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"] = str(tmp_path / "gone.json")
    assert "gone.json does not exist" in project.fails()


def test_the_daemons_policy_holds_for_every_build(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    yard = Yard(tmp_path_factory.mktemp("policed"), flags=["--config", str(tmp_path / "boatd.toml")])
    (tmp_path / "boatd.toml").write_text(f'source_policies = ["{tmp_path}/daemon.json"]\n')
    denied = rule("DENY", "docker-image://docker.io/*")
    (tmp_path / "daemon.json").write_text(json.dumps({"rules": [denied]}))
    yard.start()
    try:
        project = Project(yard, tmp_path / "context").dockerfile("FROM busybox\n")
        assert "by rule 1 of the daemon's daemon.json" in project.fails()
    finally:
        assert yard.stop() == 0


def test_a_daemon_with_a_malformed_policy_does_not_start(tmp_path: Path, own_yard: Yard) -> None:
    assert own_yard.stop() == 0
    (tmp_path / "boatd.toml").write_text(f'source_policies = ["{tmp_path}/daemon.json"]\n')
    (tmp_path / "daemon.json").write_text(json.dumps({"rules": [rule("DENY", "a**")]}))
    own_yard.flags = ["--config", str(tmp_path / "boatd.toml")]
    with pytest.raises(AssertionError, match=r"rule 1 of the daemon's daemon.json: invalid wildcard"):
        own_yard.start()
