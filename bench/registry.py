"""The registry server beside Debian's docker-registry: large blobs in and out, manifests by the thousand.

One client for both: plain sockets and sendfile, which cost next to nothing, and ApacheBench for manifests. Each server
has a directory of its own on the same disk; rows are seconds.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from bench.measure import Row, memory, reset_peak, row, timed
from bench.tools.boat import Boat

GIB = 1 << 30
CHUNK = 64 << 20
REQUESTS = 8000
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True)
class Served:
    tool: str
    port: int
    pids: Callable[[], Sequence[int]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(tool: str, scratch: Path) -> Iterator[Served]:
    """`boat` or `docker-registry`, on an empty directory."""
    root, port = scratch / f"{tool}-data", _free_port()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    if tool == "boat":
        boat = str(Path(sys.executable).with_name("boat"))
        command = [boat, "registry", "serve", "--root", str(root), "--listen", f"127.0.0.1:{port}"]
    else:
        unpacked = Path(__file__).parents[1] / ".cache/registry/usr/bin/docker-registry"
        program = str(unpacked) if unpacked.exists() else shutil.which("docker-registry")
        if program is None:
            raise SystemExit("needs Debian's docker-registry")
        (root / "config.yml").write_text(_CONFIG.format(root=root / "data", port=port))
        command = [program, "serve", str(root / "config.yml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, f"{tool} ended"
                time.sleep(0.02)
        yield Served(tool, port, lambda: [process.pid, *_children(process.pid)])
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root, ignore_errors=True)


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


class Client:
    """A connection that is kept, and answers that are read to their end."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._connection.connect()

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, named)
        answer = self._connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def send_file(self, method: str, path: str, file: int, offset: int, count: int, **headers: str) -> dict[str, str]:
        connection = self._connection
        connection.putrequest(method, path)
        connection.putheader("Content-Length", str(count))
        connection.putheader("Content-Type", "application/octet-stream")
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        end = offset + count
        while offset < end:
            offset += os.sendfile(connection.sock.fileno(), file, offset, end - offset)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status in (201, 202), (answer.status, body)
        return {name.lower(): value for name, value in answer.getheaders()}

    def drain(self, path: str, size: int) -> None:
        """GET past http.client's copies."""
        connection = self._connection
        connection.putrequest("GET", path)
        connection.endheaders()
        sock, buffer = connection.sock, bytearray(1 << 20)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        head, _, begun = head.partition(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0] + b" ", head
        left = size - len(begun)
        while left:
            left -= sock.recv_into(buffer, min(left, len(buffer)))
        connection.close()

    def begin(self, name: str) -> str:
        status, headers, _ = self.call("POST", f"/v2/{name}/blobs/uploads/")
        assert status == 202
        return _path(headers["location"])

    def close(self) -> None:
        self._connection.close()


def _path(location: str) -> str:
    parts = urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def _with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest})}"


def _made_blob(path: Path, size: int) -> str:
    hasher = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size >> 20):
            piece = os.urandom(1 << 20)
            hasher.update(piece)
            file.write(piece)
    return f"sha256:{hasher.hexdigest()}"


def _delete(client: Client, name: str, digest: str) -> None:
    assert client.call("DELETE", f"/v2/{name}/blobs/{digest}")[0] == 202


def push(served: Served, name: str, file: int, size: int, digest: str, chunk: int) -> float:
    """Seconds. `chunk` 0: in one."""
    client = Client(served.port)
    started = time.perf_counter()
    location = client.begin(name)
    if chunk:
        for offset in range(0, size, chunk):
            range_ = f"{offset}-{offset + chunk - 1}"
            answer = client.send_file("PATCH", location, file, offset, chunk, Content_Range=range_)
            location = _path(answer["location"])
        status, _, body = client.call("PUT", _with_digest(location, digest), Content_Length="0")
        assert status == 201, body
    else:
        client.send_file("PUT", _with_digest(location, digest), file, 0, size)
    seconds = time.perf_counter() - started
    client.close()
    return seconds


def pull(served: Served, name: str, digest: str, size: int) -> float:
    client = Client(served.port)
    started = time.perf_counter()
    client.drain(f"/v2/{name}/blobs/{digest}", size)
    return time.perf_counter() - started


def put_manifest(served: Served, name: str) -> str:
    """A small image; its manifest's digest."""
    client = Client(served.port)
    blobs = [b"{}", b"layer"]
    for blob in blobs:
        location = client.begin(name)
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        status, _, said = client.call("PUT", _with_digest(location, digest), blob)
        assert status == 201, said
    config, layer = (
        {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}
        for kind, blob in zip(
            ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"), blobs, strict=True
        )
    )
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] * 8}
    data = json.dumps(document).encode()
    status, headers, said = client.call("PUT", f"/v2/{name}/manifests/1", data, Content_Type=MANIFEST)
    assert status == 201, said
    client.close()
    return headers["docker-content-digest"]


def ask(served: Served, path: str, *, head: bool = False) -> float:
    """Seconds for REQUESTS requests, 16 at once."""
    flags = ["-i"] if head else []
    command = ["ab", "-q", *flags, "-k", "-c", "16", "-n", str(REQUESTS), "-H", f"Accept: {MANIFEST}"]
    result = subprocess.run([*command, f"http://127.0.0.1:{served.port}{path}"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert re.search(r"Failed requests: +0", result.stdout) and "Non-2xx" not in result.stdout, result.stdout
    found = re.search(r"Time taken for tests: +([0-9.]+) seconds", result.stdout)
    assert found is not None
    return float(found[1])


def _layout(directory: Path, layers: int, size: int) -> Path:
    """An archive of an OCI layout: one image, `shipped:1`, of layers that don't compress any further."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        encoded = hashlib.sha256(data).hexdigest()
        (blobs / encoded).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{encoded}", "size": len(data)}

    put_layers, diff_ids = [], []
    for number in range(layers):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo(f"cargo{number}")
            entry.size = size
            tar.addfile(entry, io.BytesIO(os.urandom(size)))
        diff_ids.append(f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}")
        put_layers.append(put(gzip.compress(buffer.getvalue(), 1, mtime=0), f"{LAYER}+gzip"))
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode(), CONFIG)
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": put_layers}
    manifest = put(json.dumps(document).encode(), MANIFEST)
    names = {"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "localhost/shipped:1"}
    index = {"schemaVersion": 2, "manifests": [manifest | {"annotations": names}]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    archive = directory.with_suffix(".tar")
    subprocess.run(["tar", "-C", directory, "-cf", archive, "."], check=True)
    return archive


def clients(scratch: Path, runs: int, only: Sequence[str], layers: int = 20, size: int = 50_000_000) -> Iterator[Row]:
    """`boat` beside skopeo: an image out and in, at our server."""
    wanted = {"g": "push an image of 20 layers, 1 GB", "h": "pull it"}
    if only and not set(only) & set(wanted):
        return
    layout = scratch / "layout"
    archive = _layout(layout, layers, size)
    skopeo = ["skopeo", "--insecure-policy", "copy", "-q"]
    boat = Boat(scratch / "boat-root")
    boat.start()
    times: dict[tuple[str, str], list[float]] = {}
    try:
        boat.command("load", "-q", "-i", str(archive))
        archive.unlink()
        for _ in range(runs):
            # A new server and a new store each time: neither may know of blobs that were elsewhere before.
            with serving("boat", scratch) as served:
                name = f"127.0.0.1:{served.port}/bench/image:1"
                out = timed([*skopeo, "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{name}"])
                back = timed([*skopeo, "--src-tls-verify=false", f"docker://{name}", f"oci:{scratch}/back:1"])
                times.setdefault(("g", "skopeo"), []).append(out)
                times.setdefault(("h", "skopeo"), []).append(back)
                shutil.rmtree(scratch / "back")
            with serving("boat", scratch) as served:
                name = f"127.0.0.1:{served.port}/bench/image:1"
                boat.command("tag", "localhost/shipped:1", name)
                times.setdefault(("g", "boat"), []).append(boat.command("push", "-q", name))
                puller = Boat(scratch / "boat-puller")
                puller.start()
                try:
                    times.setdefault(("h", "boat"), []).append(puller.command("pull", "-q", name))
                    peak = memory(puller.pids(), "VmHWM")
                finally:
                    puller.stop()
                shutil.rmtree(scratch / "boat-puller")
    finally:
        boat.stop()
    for (letter, tool), seconds in times.items():
        if not only or letter in only:
            print(f"{tool}: {wanted[letter]}: {' '.join(f'{each:.3f}' for each in seconds)}", file=sys.stderr)
            yield row("registry", wanted[letter], tool, seconds, peak if tool == "boat" else 0.0)


def run(scratch: Path, tools: Sequence[str], runs: int, only: Sequence[str], size: int = GIB) -> list[Row]:
    scratch.mkdir(parents=True, exist_ok=True)
    blob = scratch / "blob"
    digest = _made_blob(blob, size)
    rows: list[Row] = []
    file = os.open(blob, os.O_RDONLY)
    try:
        for tool in tools:
            with serving(tool, scratch) as served:
                rows += _measured(served, file, size, digest, runs, only)
    finally:
        os.close(file)
    return rows


def _measured(served: Served, file: int, size: int, digest: str, runs: int, only: Sequence[str]) -> Iterator[Row]:
    manifest = put_manifest(served, "bench/manifest")
    push(served, "bench/blob", file, size, digest, 0)
    counter = iter(range(1000))
    workloads: dict[str, tuple[str, Callable[[], float]]] = {
        "a": ("push 1 GiB", lambda: push(served, f"bench/push{next(counter)}", file, size, digest, 0)),
        "b": ("push 1 GiB in chunks", lambda: push(served, f"bench/chunk{next(counter)}", file, size, digest, CHUNK)),
        "c": ("pull 1 GiB", lambda: pull(served, "bench/blob", digest, size)),
        "d": ("8000 GET by tag", lambda: ask(served, "/v2/bench/manifest/manifests/1")),
        "e": ("8000 GET by digest", lambda: ask(served, f"/v2/bench/manifest/manifests/{manifest}")),
        "f": ("8000 HEAD", lambda: ask(served, "/v2/bench/manifest/manifests/1", head=True)),
    }
    for letter, (title, measure) in workloads.items():
        if only and letter not in only:
            continue
        reset_peak(served.pids())
        seconds = [measure() for _ in range(runs)]
        peak = max((memory([pid], "VmHWM") for pid in served.pids()), default=0.0)
        print(f"{served.tool}: {title}: {' '.join(f'{each:.3f}' for each in seconds)}", file=sys.stderr)
        yield row("registry", title, served.tool, seconds, peak)
