"""How the code reads and writes objects: by local paths, brought when they are wanted and kept when they are made."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

Check = Callable[[Path], bool]
"""Whether a file is what the books say of it."""


class Objects:
    """Objects of a plain folder of this machine: they lie where they are read and written, and nothing has to be done.

    `RemoteObjects` does what is described here for an object store.
    """

    is_remote = False

    def keep(self, tenant: str, folders: Iterable[Path]) -> None:
        """Have the store keep what was written below these folders. Before the row that names it is committed."""

    def take_in(self, tenant: str, source: Path, path: Path) -> None:
        """Have the store keep a file that has just come, then give it its place."""
        raise NotImplementedError("a plain folder makes its files durable itself")

    @contextlib.contextmanager
    def at_hand(self, tenant: str, wanted: Iterable[Path] | Mapping[Path, Check | None]) -> Iterator[None]:
        """These files are here while this lasts, as far as they exist at all.

        wanted: with a check where the books have a digest; it raises `ObjectDamaged` where the file is another.
        """
        yield

    @contextlib.contextmanager
    def folders_at_hand(self, tenant: str, folders: Iterable[Path], *, without: str = "") -> Iterator[None]:
        """All that was kept below these folders is here, in its last version; not files that end with `without`."""
        yield

    def present(self, paths: Iterable[Path], *, for_good: bool = False) -> frozenset[Path]:
        """Those that exist, here or in the store. for_good: a copy here does not count, the store must have it."""
        return frozenset(path for path in paths if path.is_file())

    def present_below(self, root: Path, names: Iterable[str]) -> list[str]:
        """Of relative paths below a folder those that exist for good."""
        wanted = {root / name: name for name in names}
        return [wanted[path] for path in self.present(wanted, for_good=True)]

    def move(self, tenant: str, source: Path, target: Path) -> None:
        """Give an object that is here another place."""
        os.replace(source, target)

    def discard(self, folder: Path) -> None:
        """Remove all below a folder, for good; what is not there is no error."""
        shutil.rmtree(folder, ignore_errors=True)

    def make_room(self) -> None:
        """The disk is nearly full: let go of what can be had again."""

    def problem(self) -> str | None:
        """Why objects cannot be kept now, as a sentence; None when they can."""
        return None


LOCAL_OBJECTS = Objects()
