"""A frontend for images that are a base, packages and files: a YAML document instead of a Dockerfile.

    # syntax=python:packages
    base: debian:bookworm-slim
    apt: [ca-certificates, python3]
    files:
      - from: app
        to: /srv/app
    command: [python3, /srv/app/main.py]

It is one to use, and one to learn from: everything in it is `boatyard.frontend`'s. `document` knows YAML and lines,
`recipe` what the keys mean, `remarks` what is doubtful, `convert` what becomes of it. The reference of its keys is
`docs/reference/packages-frontend.md`.
"""

from boatyard.frontend.packages.build import ask_outline, ask_remarks, ask_targets, build
from boatyard.frontend.program import Frontend

frontend = Frontend(
    build,
    answers={
        "frontend.outline": ask_outline,
        "frontend.targets": ask_targets,
        "frontend.lint": ask_remarks,
    },
    filename="image.yaml",
)

__all__ = ["frontend"]
