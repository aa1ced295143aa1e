"""`./dev protos [--check]`: generate the protobuf code from the .proto files beside it.

The generated code is checked in, so that neither an installation nor the tests need the compiler. `--check` writes
nothing and fails when what is checked in is not what the .proto files give.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "src"
PACKAGE = Path("boatyard/_pb")
PLUGIN = Path(sys.executable).with_name("protoc-gen-grpclib_python")

# The messages live in a descriptor pool of their own, and the well-known types with them: `_pb/pool.py` says why.
OWN_POOL = (
    (r"^from google\.protobuf import descriptor_pool as _descriptor_pool\n", "from boatyard._pb.pool import POOL\n"),
    (r"\b_descriptor_pool\.Default\(\)", "POOL"),
    (r"^from google\.protobuf import (any|empty|field_mask|timestamp)_pb2 as \w+\n", ""),
    (r"^(import google\.protobuf\.(any|empty|field_mask|timestamp)_pb2\n)+", "import boatyard._pb.wellknown\n"),
    (r"\bgoogle\.protobuf\.(any|empty|field_mask|timestamp)_pb2\.", "boatyard._pb.wellknown."),
)


def generate(target: Path) -> list[Path]:
    """Write modules and stubs of every .proto file below `target`; the paths are relative to it."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).rglob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{ROOT}", f"-I{well_known}", f"--python_out={target}", f"--pyi_out={target}"]
    arguments += [f"--plugin=protoc-gen-grpclib_python={PLUGIN}", f"--grpclib_python_out={target}"]
    if protoc.main([*arguments, *sources]) != 0:
        raise SystemExit("protoc failed")
    made = []
    for path in sorted(target.rglob("*.py*")):
        text = path.read_text()
        if path.name.endswith("_grpc.py") and "__mapping__" not in text:
            continue  # of a file without services
        if path.suffix == ".py":
            for pattern, replacement in OWN_POOL:
                text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
        path.write_text(text)
        made.append(path.relative_to(target))
    return made


def present() -> set[Path]:
    return {
        path.relative_to(ROOT) for suffix in ("_pb2.py", "_pb2.pyi", "_grpc.py") for path in ROOT.rglob(f"*{suffix}")
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev protos", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the checked-in code is stale")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory)
        names = generate(made)
        gone = sorted(present() - set(names))
        stale = [
            name
            for name in names
            if not (ROOT / name).exists() or (made / name).read_bytes() != (ROOT / name).read_bytes()
        ]
        if options.check:
            for name in [*stale, *gone]:
                print(f"stale: src/{name}; run ./dev protos", file=sys.stderr)
            return 1 if stale or gone else 0
        for name in stale:
            shutil.copyfile(made / name, ROOT / name)
            print(f"wrote src/{name}")
        for name in gone:
            (ROOT / name).unlink()
            print(f"removed src/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
