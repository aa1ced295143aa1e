"""A build context, and what building it gave: files with their owners and modes, the image's config, what was said."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from e2e.yard import Yard, write_files


class Tree:
    """The files of a result, from `-o type=tar`. Paths without a leading slash."""

    def __init__(self, data: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            self.entries = {entry.name.rstrip("/"): entry for entry in tar}
            self._data = {
                name: tar.extractfile(entry).read()  # type: ignore[union-attr]
                for name, entry in self.entries.items()
                if entry.isfile() or entry.islnk()
            }

    def __contains__(self, path: str) -> bool:
        return path in self.entries

    def text(self, path: str) -> str:
        return self._data[path].decode()

    def mode(self, path: str) -> str:
        return f"{self.entries[path].mode:o}"

    def owner(self, path: str) -> tuple[int, int]:
        return self.entries[path].uid, self.entries[path].gid

    def below(self, directory: str) -> list[str]:
        """Everything under a directory, relative to it, sorted."""
        return sorted(name.removeprefix(directory + "/") for name in self.entries if name.startswith(directory + "/"))


@dataclass
class Project:
    """One directory, built by one yard. A Dockerfile may be written indented as a whole."""

    yard: Yard
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, files: Mapping[str, str | bytes]) -> Project:
        texts = {
            name: dedent(data).lstrip("\n") if isinstance(data, str) and "Dockerfile" in name else data
            for name, data in files.items()
        }
        write_files(self.directory, texts)
        return self

    def dockerfile(self, text: str) -> Project:
        return self.write({"Dockerfile": text})

    def build(self, *arguments: str | Path, context: str | Path | None = None) -> str:
        """Build; what the progress said."""
        place = self.directory if context is None else context
        done = self.yard.run("build", "--progress=plain", *arguments, place, environment=self.environment)
        return done.stderr + done.stdout

    def fails(self, *arguments: str | Path) -> str:
        return self.yard.fails("build", "--progress=plain", *arguments, self.directory, environment=self.environment)

    def tree(self, *arguments: str | Path, context: str | Path | None = None) -> Tree:
        """Build; the files of the result."""
        out = self.directory.parent / f"{self.directory.name}.tar"
        self.build("-o", f"type=tar,dest={out}", *arguments, context=context)
        tree = Tree(out.read_bytes())
        out.unlink()
        return tree

    def image(self, *arguments: str | Path) -> dict[str, Any]:
        """Build; the image's config document."""
        tag = f"image-{self.directory.name}".lower()
        self.build("-t", tag, *arguments)
        found = self.yard.run("image", "inspect", "--format", "{{json .}}", tag)
        document = json.loads(found.stdout)
        return document[0] if isinstance(document, list) else document


STEP = re.compile(r"^#(\d+) \[(?P<place>[^\]]*)\] (?P<text>.*)$", re.MULTILINE)


def outcomes(progress: str) -> dict[str, str]:
    """By step, as written in the Dockerfile: DONE, CACHED, SKIPPED, ERROR."""
    names = {match[1]: match["text"] for match in STEP.finditer(progress) if match["place"] != "internal"}
    found = {}
    for number, name in names.items():
        ends = re.findall(rf"^#{number} (DONE|CACHED|SKIPPED|ERROR|CANCELED)", progress, re.MULTILINE)
        found[name] = ends[-1] if ends else ""
    return found


def printed(progress: str) -> list[str]:
    """The lines that steps wrote."""
    return re.findall(r"^#\d+ \d+\.\d+ (.*)$", progress, re.MULTILINE)
