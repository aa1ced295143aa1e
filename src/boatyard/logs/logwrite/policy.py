"""How large files get, how many are kept, and how safe they are."""

from __future__ import annotations

MAX_FILES = 10
MAX_SIZE = 1 << 20


class Policy:
    """`max_size` bytes and `max_age` seconds (0: any) are when a file is rotated, `max_files` how many of those are
    kept for each source, `max_total` (0: any) what all files of the directory may take. `sync`: fsync never (None),
    or when so many seconds have passed since the last time; 0 is after all that came at once."""

    __slots__ = ("compress", "max_age", "max_files", "max_size", "max_total", "sync")

    def __init__(
        self,
        *,
        max_files: int = MAX_FILES,
        max_size: int = MAX_SIZE,
        max_age: int = 0,
        max_total: int = 0,
        compress: bool = False,
        sync: float | None = None,
    ) -> None:
        self.max_files = max_files
        self.max_size = max_size
        self.max_age = max_age
        self.max_total = max_total
        self.compress = compress
        self.sync = sync
