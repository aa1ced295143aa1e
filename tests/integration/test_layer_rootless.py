"""Snapshots and layers in a user namespace, where marks live in other xattrs and devices can't be made."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]

SCRIPT = """
import io, os, stat, sys
from pathlib import Path
from boatyard.image.layer.apply import apply
from boatyard.image.layer.diff import write_layer
from boatyard.image.layer.tarheader import END, header
from boatyard.image.snapshot.overlay import OverlaySnapshotter
from boatyard.image.snapshot.whiteout import USER

snapshotter = OverlaySnapshotter(Path(sys.argv[1]))
assert snapshotter.flavour is USER
tar = (
    header(b"d/", b"5", 0o755, 0, 0, 0, 5) + header(b"d/old", b"0", 0o644, 0, 0, 0, 5)
    + header(b"gone", b"0", 0o644, 0, 0, 0, 5) + header(b"null", b"3", 0o666, 0, 0, 0, 5, b"", 1, 3) + END
)
base = snapshotter.prepare()
apply(io.BytesIO(tar), snapshotter.directory(base))
snapshotter.commit(base)
assert sorted(os.listdir(snapshotter.directory(base))) == ["d", "gone"]
active = snapshotter.prepare()
with snapshotter.mount([base], active=active) as root:
    (root / "gone").unlink()
    (root / "d/old").unlink()
    (root / "d").rmdir()
    (root / "d").mkdir()
    (root / "d/new").touch()
snapshotter.commit(active)
with snapshotter.mount([base, active]) as root:
    assert sorted(os.listdir(root)) == ["d"] and os.listdir(root / "d") == ["new"]
out = io.BytesIO()
write_layer(snapshotter.directory(active), out)
again = snapshotter.prepare()
apply(io.BytesIO(out.getvalue()), snapshotter.directory(again))
snapshotter.commit(again)
assert os.getxattr(snapshotter.directory(again) / "d", "user.overlay.opaque") == b"y"
with snapshotter.mount([base, again]) as root:
    assert sorted(os.listdir(root)) == ["d"] and os.listdir(root / "d") == ["new"]
print("done")
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Writable for whoever the namespace's root is outside."""
    directory = Path(tempfile.mkdtemp(prefix="boat-rootless-"))
    yield directory
    shutil.rmtree(directory)


def test_layers_are_made_and_merged_in_a_user_namespace(directory: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("this host makes no user namespaces")
    command = [*UNSHARE, sys.executable, "-c", SCRIPT, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
