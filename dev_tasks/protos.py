"""`./dev protos [--check]`: generate the protobuf code from the .proto files beside it.

The generated code is checked in, so that neither an installation nor the tests need the compiler. `--check` writes
nothing and fails when what is checked in is not what the .proto files give.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "src"
PACKAGE = Path("boatyard/_pb")


def generate(target: Path) -> list[Path]:
    """Write modules and stubs of every .proto file below `target`; the paths are relative to it.

    Names are relative to `src`: they are keys of protobuf's process-wide descriptor pool, where a bare "ops.proto"
    could clash with another library's.
    """
    from grpc_tools import protoc  # type: ignore[import-untyped]

    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).rglob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{ROOT}", f"-I{well_known}", f"--python_out={target}", f"--pyi_out={target}", *sources]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")
    return sorted(path.relative_to(target) for path in target.rglob("*_pb2.py*"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev protos", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the checked-in code is stale")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory)
        names = generate(made)
        stale = [
            name for name in names if not (ROOT / name).exists() or not filecmp.cmp(made / name, ROOT / name, False)
        ]
        if options.check:
            for name in stale:
                print(f"stale: src/{name}; run ./dev protos", file=sys.stderr)
            return 1 if stale else 0
        for name in stale:
            shutil.copyfile(made / name, ROOT / name)
            print(f"wrote src/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
