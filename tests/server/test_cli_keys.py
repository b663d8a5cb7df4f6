"""`radmeter keys` on a database of its own."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.server.commands import done, run


def test_the_life_of_a_master_key(
    owner: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first.key", tmp_path / "second.key"
    assert "keep a copy" in done("keys", "init", first)
    monkeypatch.setenv("RADMETER_MASTER_KEYS", str(first))
    done("peer", "add", "PACS@10.0.0.1:104", "--archive", "https://pacs.example")
    done("peer", "secret", "PACS", entered="open sesame\n")
    (stored,) = owner.execute("SELECT query_secret FROM peer").fetchone() or ("",)
    assert stored.startswith("sealed:1:")

    done("keys", "init", second)
    monkeypatch.setenv("RADMETER_MASTER_KEYS", f"{second}, {first}")
    former = done("keys", "status").split("master key ")[2].split()[0]
    assert former in done("keys", "status").splitlines()[-2]
    assert "default: 1 keys" in done("keys", "rewrap")
    monkeypatch.setenv("RADMETER_MASTER_KEYS", str(second))
    assert former not in done("keys", "status")

    assert "1 data keys retired" in done("keys", "rotate", "--data")
    (anew,) = owner.execute("SELECT query_secret FROM peer").fetchone() or ("",)
    assert anew.split(":")[2] != stored.split(":")[2]
    for content in (first, second):
        assert content.read_bytes().hex() not in done("keys", "status")


def test_without_a_key_or_with_a_wrong_one_it_says_what_to_do(
    owner: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("keys", "status")
    assert result.exit_code == 1
    assert "radmeter keys init FILE" in result.stderr
    monkeypatch.setenv("RADMETER_MASTER_KEYS", str(tmp_path / "none.key"))
    result = run("keys", "rotate")
    assert result.exit_code == 1
    assert "none.key: No such file or directory; `radmeter keys init` makes one" in result.stderr
    done("keys", "init", tmp_path / "none.key")
    assert run("keys", "rotate", "--tenant", "nobody").stderr.strip() == "radmeter: no tenant nobody"
