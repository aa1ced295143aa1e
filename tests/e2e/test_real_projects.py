"""Projects as people have them, built and run with the package registries this machine reaches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.yard import Yard, write_files

pytestmark = [pytest.mark.network, pytest.mark.runtime, pytest.mark.timeout(900), pytest.mark.xdist_group("projects")]

HELLO_C = """#include <stdio.h>
int main(void) { puts("hello from C"); return 0; }
"""


@pytest.fixture(autouse=True)
def _base(yard: Yard, debian: Callable[[Yard], None]) -> None:
    debian(yard)


def build(yard: Yard, tag: str, context: Path) -> str:
    """What the build printed. The host's certificates are lent to the steps: this machine's network may need them."""
    return yard.run("build", "--progress=plain", "--trust-host-ca", "-t", tag, context, timeout=800).stderr


def test_a_c_program_is_compiled_in_one_stage_and_run_from_another(yard: Yard, tmp_path: Path) -> None:
    context = write_files(
        tmp_path / "c",
        {
            "hello.c": HELLO_C,
            "Dockerfile": """FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
COPY hello.c /src/
RUN gcc -static -O2 -o /hello /src/hello.c
FROM scratch
COPY --from=build /hello /hello
CMD ["/hello"]
""",
        },
    )
    build(yard, "c-hello", context)
    assert yard.run("run", "--rm", "c-hello").stdout == "hello from C\n"
    (context / "hello.c").write_text(HELLO_C.replace("hello from C", "changed"))
    again = build(yard, "c-hello", context)
    assert "CACHED" in again
    assert yard.run("run", "--rm", "c-hello").stdout == "changed\n"


def test_a_python_web_application_is_installed_with_a_cache_mount(yard: Yard, tmp_path: Path) -> None:
    context = write_files(
        tmp_path / "web",
        {
            "requirements.txt": "starlette\n",
            "app.py": "from starlette.applications import Starlette\n"
            "from starlette.responses import PlainTextResponse\n"
            "from starlette.routing import Route\n"
            "app = Starlette(routes=[Route('/', lambda request: PlainTextResponse('hi'))])\n"
            "print('routes:', len(app.routes))\n",
            "Dockerfile": """FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv
WORKDIR /app
RUN python3 -m venv /venv
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip /venv/bin/pip install -r requirements.txt
COPY app.py .
USER www-data
CMD ["/venv/bin/python", "app.py"]
""",
        },
    )
    build(yard, "web", context)
    assert yard.run("run", "--rm", "web").stdout == "routes: 1\n"
    assert "/root/.cache/pip" in yard.run("builder", "cache-mount", "ls").stdout


def test_a_node_front_end_is_built_with_npm(yard: Yard, tmp_path: Path) -> None:
    context = write_files(
        tmp_path / "front",
        {
            "package.json": '{"name": "front", "version": "1.0.0", "private": true, '
            '"dependencies": {"is-number": "7.0.0"}}',
            "build.js": "const isNumber = require('is-number');\n"
            "require('fs').writeFileSync('dist.html', `<p>${isNumber(42)}</p>\\n`);\n",
            "Dockerfile": """FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm
WORKDIR /front
COPY package.json .
RUN --mount=type=cache,target=/root/.npm npm install --no-audit --no-fund
COPY build.js .
RUN node build.js
FROM busybox
COPY --from=build /front/dist.html /www/index.html
CMD ["cat", "/www/index.html"]
""",
        },
    )
    build(yard, "front", context)
    assert yard.run("run", "--rm", "front").stdout == "<p>true</p>\n"


def test_an_image_with_apt_packages_has_them(yard: Yard, tmp_path: Path) -> None:
    context = write_files(
        tmp_path / "apt",
        {
            "Dockerfile": """FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends jq
ENTRYPOINT ["jq"]
"""
        },
    )
    build(yard, "jq", context)
    assert yard.run("run", "--rm", "jq", "-n", "1 + 1").stdout == "2\n"
