"""Which version of each model reads one study, by which threshold: pinned by the route step, kept by the later ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.errors import ModelVersionNotFound
from models.manifest import Manifest
from models.model import Model
from pipeline import deployments, peers
from pipeline.database import Connection
from pipeline.deployments import DEFAULT, Deployment, Threshold
from pipeline.errors import StudyFailed
from pipeline.route import check_series
from pipeline.services import FindModel, Services
from study.study import Study

Choice = dict[str, Any]
SHADOW_ROLE = "shadow"


@dataclass(frozen=True)
class InForce:
    """What a tenant has decided about its models, and what of a study decides between them."""

    study_id: UUID
    ae_title: str
    site: str
    deployments: Mapping[str, Deployment]
    thresholds: tuple[Threshold, ...]


def in_force(conn: Connection, tenant: str, study_id: UUID, ae_title: str) -> InForce:
    peer = peers.get_peer(conn, tenant, ae_title)
    return InForce(
        study_id,
        ae_title,
        peers.place_of(peer).get("site", ""),
        deployments.list_deployments(conn, tenant),
        tuple(deployments.list_thresholds(conn, tenant)),
    )


@dataclass(frozen=True)
class ModelsForStudy:
    """The models of an installation as one study gets them."""

    find: FindModel
    decided: InForce

    def manifest(self, name: str) -> Manifest:
        """Of the version that reads the study. Raises `StudyFailed` when it is no longer installed."""
        default = self.find(name).manifest
        deployment = self._deployment(default.name)
        is_canary = self._is_canary(deployment)
        return self._version(default, (deployment.canary or "") if is_canary else deployment.active)

    def pin(self, choices: list[Choice], study: Study) -> list[Choice]:
        """The choices with what they need to be carried out later exactly so, and those of versions in shadow."""
        pinned, shadows = [], []
        for choice in choices:
            manifest = self._version(self.find(choice["model"]).manifest, choice["model_version"])
            deployment = self._deployment(manifest.name)
            pinned.append(
                self._pinned(choice, manifest, "canary" if self._is_canary(deployment) else "active")
            )
            if deployment.shadow is None or choice.get("shadow") or deployment.shadow == manifest.version:
                continue
            other = self._version(manifest, deployment.shadow)
            # Both read the same series: of another one nobody could compare the results.
            if check_series(study.series_of(choice["series_instance_uid"]), other.input) is None:
                name = f"{choice['product']}@{other.version}"
                version = {"product": name, "model_version": other.version, "shadow": True}
                shadows.append(self._pinned(choice | version, other, SHADOW_ROLE))
        return pinned + shadows

    def _pinned(self, choice: Choice, manifest: Manifest, role: str) -> Choice:
        deployment = self._deployment(manifest.name)
        facts: dict[str, Any] = {"role": role, "active": deployment.active or "default"}
        if deployment.canary is not None:
            facts |= {"canary": deployment.canary, "percent": deployment.canary_percent}
        if deployment.shadow is not None:
            facts["shadow"] = deployment.shadow
        return choice | {
            "threshold": self._threshold(manifest),
            "deployment": facts,
            "uses": {name: self._supporter(name) for name in manifest.uses},
        }

    def _threshold(self, manifest: Manifest) -> float:
        """Of the peer, else of its site, else of the tenant, else the manifest's."""
        own = [
            one
            for one in self.decided.thresholds
            if (one.model, one.version) == (manifest.name, manifest.version)
            and one.ae_title in ("", self.decided.ae_title)
            and one.site in ("", self.decided.site)
        ]
        best = max(own, key=lambda one: (one.ae_title != "", one.site != ""), default=None)
        return manifest.operating_threshold if best is None else best.threshold

    def _supporter(self, name: str) -> str | None:
        """The active version of a model that another one uses; None = the default one, if it is there at all."""
        return self._deployment(name).active or None

    def _deployment(self, model: str) -> Deployment:
        return self.decided.deployments.get(model, Deployment(model))

    def _is_canary(self, deployment: Deployment) -> bool:
        if deployment.canary is None or deployment.canary_percent is None:
            return False
        return percentile(deployment.model, self.decided.study_id) < deployment.canary_percent

    def _version(self, one: Manifest, version: str) -> Manifest:
        if version in (DEFAULT, one.version):
            return one
        try:
            return self.find(one.name, version=version).manifest
        except ModelVersionNotFound as error:
            raise version_missing(error) from error


def active_manifests(conn: Connection, tenant: str, find: FindModel) -> Callable[[str], Manifest]:
    """By name, the manifest of the version that is active for a tenant: for trying rules, where no study is in hand."""
    decided = deployments.list_deployments(conn, tenant)

    def manifest(name: str) -> Manifest:
        default = find(name).manifest
        active = decided.get(default.name, Deployment(default.name)).active
        return (
            default if active in (DEFAULT, default.version) else find(default.name, version=active).manifest
        )

    return manifest


def percentile(model: str, study_id: UUID) -> int:
    """A stable number in [0, 100) of a study; another one for each model, so that canaries do not go together."""
    digest = hashlib.sha256(f"{model}:{study_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % 100


def model_of(services: Services, choice: Choice) -> Model:
    """The model as the route step has pinned it. Raises `StudyFailed` when that version is no longer installed."""
    try:
        return services.get_model(
            choice["model"], version=choice.get("model_version"), threshold=choice.get("threshold")
        )
    except ModelVersionNotFound as error:
        raise version_missing(error) from error


def supporter_of(services: Services, choice: Choice, name: str) -> Model:
    """A model that the choice's model uses, in the version that was pinned."""
    return services.get_model(name, version=choice.get("uses", {}).get(name))


def is_trial(choice: Choice) -> bool:
    """Whether this is a version that runs in shadow beside the one that is delivered."""
    return bool(choice.get("deployment", {}).get("role") == SHADOW_ROLE)


def trial_of(choice: Choice) -> str | None:
    """The product whose other version this one runs in shadow beside; None where it is no trial."""
    return str(choice["product"]).partition("@")[0] if is_trial(choice) else None


def version_missing(error: ModelVersionNotFound) -> StudyFailed:
    text = f"A version of a model that this study needs is no longer installed: {error}."
    return StudyFailed("MODEL_VERSION_MISSING", text)
