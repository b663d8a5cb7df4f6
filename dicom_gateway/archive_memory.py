"""How the counts of the sender's archive change while a study arrives: does it have the study, or still get it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Studies after which an archive that never grew while it sent counts as one that has a study before it sends it.
_STUDIES_MIN = 10
_GREW_SHARE_MAX = 0.05


def archive_fills(grew: Sequence[bool]) -> bool:
    """Whether a sender's archive passes on what it has just got, so that its count is no end.

    grew: for each completed study that it was asked about, newest first, whether a count went up meanwhile. True until
    enough studies show that it does not.
    """
    return len(grew) < _STUDIES_MIN or sum(grew) > _GREW_SHARE_MAX * len(grew)


@dataclass(frozen=True)
class ArchiveMemory:
    """What the archive's answers have come to so far.

    counts: the latest, by Series Instance UID; None before the first answer.
    grew: a count went up between two answers.
    """

    counts: dict[str, int] | None = None
    grew: bool = False

    def after(self, counts: Mapping[str, int]) -> ArchiveMemory:
        """With a further answer."""
        grew = self.counts is not None and any(
            count > self.counts.get(uid, 0) for uid, count in counts.items()
        )
        return ArchiveMemory(dict(counts), self.grew or grew)
