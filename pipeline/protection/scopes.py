"""Which data key an object is sealed with: what shares one can be erased for itself by shredding it.

The folder of a study's received instances has one, what was made of the study another, and an instance that was put
aside one of its own. All follow from the object's key in the store alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID


def scope_of(object_key: str) -> str:
    """The scope of an object of the store."""
    kind, _, rest = object_key.partition("/")
    parts = rest.split("/")
    if kind == "instances":
        return object_key if parts[0] == "quarantine" else instances_scope(rest)
    return study_scope(parts[0])


def instances_scope(location: str) -> str:
    """Of received instances, by a location in the folder of instances: `ab/abcdef…/….dcm`."""
    return "instances/" + "/".join(location.split("/")[:2])


def study_scope(study_id: UUID | str) -> str:
    """Of what was made of a study: results, and what one step leaves for the next."""
    return f"study/{study_id}"


def scopes_of_study(study_id: UUID, locations: Iterable[str]) -> list[str]:
    """All scopes of a study. locations: of its received instances, those put aside too."""
    return sorted({study_scope(study_id), *(scope_of(f"instances/{one}") for one in locations)})


def folders_of(scope: str) -> list[str]:
    """The folders of the store, or the one object, that hold what a scope seals."""
    if scope.startswith("study/"):
        study_id = scope.removeprefix("study/")
        return [f"results/{study_id}", f"work/{study_id}"]
    return [scope]
