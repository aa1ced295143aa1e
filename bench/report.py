"""Rows as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from bench.measure import Row


def with_ratios(rows: Sequence[Row], reference: str) -> list[Row]:
    """Each row against the reference tool's of the same workload, where there is one."""
    medians = {row.workload: row.median_s for row in rows if row.tool == reference}
    return [
        replace(row, ratio_to=reference, ratio=row.median_s / medians[row.workload]) if row.workload in medians else row
        for row in rows
    ]


def table(rows: Sequence[Row]) -> str:
    head = ("workload", "tool", "runs", "median s", "peak MB", "ratio")
    lines = [
        (
            row.workload,
            row.tool,
            str(row.runs),
            f"{row.median_s:.3f}",
            f"{row.peak_rss_mb:.0f}" if row.peak_rss_mb else "-",
            f"{row.ratio:.2f} of {row.ratio_to}" if row.ratio is not None else "-",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *lines)
    )


def write_json(rows: Sequence[Row], path: Path) -> None:
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
