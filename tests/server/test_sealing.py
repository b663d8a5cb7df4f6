"""How a process seals what it stores, by the settings alone."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from pipeline.protection.master_keys import make_master_key
from server.errors import SettingInvalid
from server.object_store import objects, tenant_store
from server.settings import Settings
from tests.s3_server import REGION, Bucket

TENANT = "default"


def settings_of(url: str, folder: Path, store: str, **changes: str) -> Settings:
    key = folder / "master.key"
    if not key.exists():
        make_master_key(key)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES (%s, 'Clinic', 'X') ON CONFLICT DO NOTHING",
            (TENANT,),
        )
    return Settings(
        data_directory=folder / "data", database_url=url, objects=store, master_keys=str(key), **changes
    )


def keep(settings: Settings, content: bytes) -> Path:
    """A report that a step has written and kept, and that this node then loses."""
    path = settings.results_directory / "s-1" / "1" / "report.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    objects(settings).keep(TENANT, [path.parent])
    path.unlink()
    return path


def test_in_a_folder_what_is_kept_is_sealed_and_comes_back_plain(migrated_url: str, tmp_path: Path) -> None:
    settings = settings_of(migrated_url, tmp_path, f"file://{tmp_path}/objects")
    path = keep(settings, b"MUSTERMANN")
    stored = tmp_path / "objects" / "results" / "s-1" / "1" / "report.json"
    assert stored.read_bytes().startswith(b"RADSEAL\x01")
    with objects(settings).at_hand(TENANT, [path]):
        assert path.read_bytes() == b"MUSTERMANN"
    assert tenant_store(settings, TENANT).head("results/s-1/1/report.json") is not None


def test_in_s3_too_in_parts_where_it_is_large(migrated_url: str, tmp_path: Path, bucket: Bucket) -> None:
    settings = settings_of(
        migrated_url,
        tmp_path,
        f"s3://{bucket.name}/region",
        objects_endpoint=bucket.door.url,
        objects_region=REGION,
    )
    content = b"MUSTERMANN" * 1_000_000
    path = keep(settings, content)
    raw = bucket.server.client().get_object(Bucket=bucket.name, Key="region/results/s-1/1/report.json")
    body = raw["Body"].read()
    assert body.startswith(b"RADSEAL\x01")
    assert b"MUSTERMANN" not in body
    with objects(settings).folders_at_hand(TENANT, [path.parent]):
        assert path.read_bytes() == content


def test_sealing_without_a_store_or_with_a_wrong_key_does_not_start(
    migrated_url: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingInvalid, match="file:///folder on this machine will do"):
        objects(settings_of(migrated_url, tmp_path, ""))
    (tmp_path / "master.key").chmod(0o644)
    with pytest.raises(SettingInvalid, match="everybody may read it"):
        objects(settings_of(migrated_url, tmp_path, f"file://{tmp_path}/objects"))
