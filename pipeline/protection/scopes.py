"""Which data key an object is sealed with: what shares one can be erased for itself by shredding it.

The folder of a study's received instances has one, what was made of the study another, and an instance that was put
aside one of its own. All follow from the object's key in the store alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from storage.object_store import ObjectStore, StoredObject

_ASIDE = "instances/quarantine/"


def scope_of(object_key: str) -> str:
    """The scope of an object of the store."""
    kind, _, rest = object_key.partition("/")
    if kind == "instances":
        return object_key if object_key.startswith(_ASIDE) else instances_scope(rest)
    return study_scope(rest.partition("/")[0])


def instances_scope(location: str) -> str:
    """Of received instances, by a location in the folder of instances: `ab/abcdef…/….dcm`."""
    return "instances/" + "/".join(location.split("/")[:2])


def study_scope(study_id: UUID | str) -> str:
    """Of what was made of a study: results, and what one step leaves for the next."""
    return f"study/{study_id}"


def objects_of(store: ObjectStore, scope: str) -> Iterator[StoredObject]:
    """What lies in the store of a scope."""
    for folder in folders_of(scope):
        if folder.startswith(_ASIDE):
            yield from filter(None, (store.head(folder),))
        else:
            yield from store.list(folder)


def folders_of(scope: str) -> list[str]:
    """The folders of the store, or the one object, that hold what a scope seals."""
    if scope.startswith("study/"):
        study_id = scope.removeprefix("study/")
        return [f"results/{study_id}", f"work/{study_id}"]
    return [scope]
