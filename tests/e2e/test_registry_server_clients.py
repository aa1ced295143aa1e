"""The registry server as other people's clients see it: skopeo, podman, buildah, oras, docker; and as ours does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from boatyard.image import spec
from fixtures.certificates import Authority
from fixtures.registryserver import Served, start, stop

PASSWORD = "ships in bottles"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = start(tmp_path_factory.mktemp("registry") / "root", "--workers", "2")
    yield served
    stop(served)


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def layout(directory: Path, *layers: bytes) -> str:
    """An OCI layout with one image under the tag `x`; its manifest's digest."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        encoded = hashlib.sha256(data).hexdigest()
        (blobs / encoded).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{encoded}", "size": len(data)}

    put_layers = [put(data, spec.OCI_LAYER) for data in layers]
    rootfs = {"type": "layers", "diff_ids": [each["digest"] for each in put_layers]}
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode(), spec.OCI_CONFIG)
    document = {"schemaVersion": 2, "mediaType": spec.OCI_MANIFEST, "config": config, "layers": put_layers}
    manifest = put(json.dumps(document).encode(), spec.OCI_MANIFEST)
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(manifest["digest"])


def test_skopeo_pushes_inspects_copies_lists_and_deletes(server: Served, tmp_path: Path) -> None:
    skopeo = [program("skopeo"), "--insecure-policy"]
    there = f"docker://{server.host}/skopeo/app"
    digest = layout(tmp_path / "image", os.urandom(3_000_000), os.urandom(10), b"")
    run(*skopeo, "copy", "--preserve-digests", "--dest-tls-verify=false", f"oci:{tmp_path}/image:x", f"{there}:1")
    assert json.loads(run(*skopeo, "inspect", "--tls-verify=false", f"{there}:1"))["Digest"] == digest
    run(*skopeo, "copy", "--preserve-digests", "--src-tls-verify=false", f"{there}@{digest}", f"oci:{tmp_path}/back:x")
    assert digest.removeprefix("sha256:") in os.listdir(tmp_path / "back/blobs/sha256")
    # From one repository to another, blobs are mounted; and as Docker's schema 2.
    flags = ["--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2"]
    run(*skopeo, "copy", *flags, f"{there}:1", f"docker://{server.host}/skopeo/other:2")
    kind = server.call("GET", "/v2/skopeo/other/manifests/2").headers["content-type"]
    assert kind == spec.DOCKER_MANIFEST
    assert json.loads(run(*skopeo, "list-tags", "--tls-verify=false", there))["Tags"] == ["1"]
    run(*skopeo, "delete", "--tls-verify=false", f"{there}:1")
    assert server.call("HEAD", "/v2/skopeo/app/manifests/1").status == 404


def test_a_user_logs_in_and_pushes_over_tls(tmp_path: Path) -> None:
    skopeo = [program("skopeo"), "--insecure-policy"]
    authority = Authority(tmp_path / "authority")
    pair = authority.sign("server")
    root = tmp_path / "root"
    served = start(root, "--auth", "--tlscert", pair.cert, "--tlskey", pair.key)
    boat = [str(Path(sys.executable).with_name("boat")), "registry"]
    try:
        done = subprocess.run(
            [*boat, "user", "add", "anna", "--root", root, "--password-stdin"], input=f"{PASSWORD}\n", text=True
        )
        assert done.returncode == 0
        token = run(*boat, "token", "create", "anna", "laptop", "--root", root, "--allow", "*=pull,push").strip()
        layout(tmp_path / "image", os.urandom(2_000_000))
        certificates = tmp_path / "certificates"
        certificates.mkdir()
        shutil.copy(authority.ca, certificates / "ca.crt")
        there = f"docker://localhost:{served.port}/team/app:1"
        flags = ["--dest-cert-dir", certificates]
        source = f"oci:{tmp_path}/image:x"
        for credential in (f"anna:{PASSWORD}", f"anna:{token}"):
            run(*skopeo, "copy", *flags, "--dest-creds", credential, source, there)
        refused = subprocess.run(
            [*skopeo, "copy", *flags, "--dest-creds", "anna:wrong", source, there], capture_output=True, text=True
        )
        assert refused.returncode != 0
        flags = ["--src-cert-dir", certificates, "--src-creds", f"anna:{token}"]
        run(*skopeo, "copy", *flags, there, f"oci:{tmp_path}/back:x")
        assert "laptop" in (listed := run(*boat, "token", "ls", "--root", root)) and "never" not in listed
        run(*boat, "token", "revoke", "anna", "laptop", "--root", root)
        refused = subprocess.run([*skopeo, "copy", *flags, there, f"oci:{tmp_path}/more:x"], capture_output=True)
        assert refused.returncode != 0
    finally:
        stop(served)


@pytest.mark.root
def test_buildah_builds_pushes_and_pulls(server: Served, tmp_path: Path) -> None:
    place = ["--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]
    buildah = [program("buildah"), *place]
    (tmp_path / "cargo").write_bytes(os.urandom(200_000))
    container = run(*buildah, "from", "scratch").strip()
    run(*buildah, "copy", container, tmp_path / "cargo", "/cargo")
    run(*buildah, "commit", container, "made")
    run(*buildah, "push", "--tls-verify=false", "made", f"docker://{server.host}/buildah/app:1")
    run(*buildah, "rmi", "-a", "-f")
    run(*buildah, "pull", "--tls-verify=false", f"docker://{server.host}/buildah/app:1")
    assert "buildah/app" in run(*buildah, "images")


@pytest.mark.root
def test_podman_pulls_and_pushes(server: Served, tmp_path: Path) -> None:
    program("podman")
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as directory:
        # A run directory may have at most 50 characters.
        place = ["--root", tmp_path / "root", "--runroot", directory, "--storage-driver", "vfs"]
        use_podman(server, [program("podman"), *place])


def use_podman(server: Served, podman: list[object]) -> None:
    server.push_image("podman/app", "1", [empty_tar()])
    run(*podman, "pull", "--tls-verify=false", f"{server.host}/podman/app:1")
    run(*podman, "tag", f"{server.host}/podman/app:1", f"{server.host}/podman/other:2")
    run(*podman, "push", "--tls-verify=false", f"{server.host}/podman/other:2")
    assert server.call("GET", "/v2/podman/other/tags/list").json()["tags"] == ["2"]
    assert server.host in run(*podman, "search", "--tls-verify=false", "--list-tags", f"{server.host}/podman/app")


def empty_tar() -> bytes:
    return b"\0" * 1024


def test_oras_pushes_attaches_and_pulls(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oras = pytest.importorskip("oras.client")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("cargo")
    client = oras.OrasClient(hostname=server.host, insecure=True, tls_verify=False)
    target = f"{server.host}/oras/artifact:1"
    client.push(target=target, files=["notes.txt"], disable_path_validation=True)
    (pulled,) = client.pull(target=target, outdir=str(tmp_path / "out"))
    assert Path(pulled).read_text() == "cargo"
    assert client.get_tags(target) == ["1"]
