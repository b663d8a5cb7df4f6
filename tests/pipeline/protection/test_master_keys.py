"""Files that are master keys, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.protection.errors import MasterKeyUnusable
from pipeline.protection.master_keys import load_master_keys, make_master_key


class TestMasterKeys:
    def test_a_key_has_the_same_id_wherever_its_file_lies_and_shows_itself_nowhere(
        self, tmp_path: Path
    ) -> None:
        made = make_master_key(tmp_path / "a.key")
        (tmp_path / "b.key").write_bytes((tmp_path / "a.key").read_bytes())
        (tmp_path / "b.key").chmod(0o600)
        found = load_master_keys([tmp_path / "b.key"])
        assert found is not None
        assert found.current_id == made.id
        assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
        secret = (tmp_path / "a.key").read_bytes()
        for shown in (repr(found), repr(made), str(made), made.id):
            assert secret.hex() not in shown
            assert repr(secret) not in shown

    @pytest.mark.parametrize(
        ("content", "mode", "sentence"),
        [
            (b"", 0o600, "exactly 32 bytes, not 0"),
            (bytes(range(31)), 0o600, "exactly 32 bytes, not 31"),
            (bytes(range(64)), 0o600, "not more"),
            (bytes(32), 0o600, "not random"),
            (bytes(range(32)), 0o644, "everybody may read it"),
            (None, 0, "No such file"),
        ],
        ids=["empty", "short", "long", "all the same", "open to all", "absent"],
    )
    def test_what_is_no_master_key_is_refused_with_what_to_do(
        self, tmp_path: Path, content: bytes | None, mode: int, sentence: str
    ) -> None:
        path = tmp_path / "master.key"
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)
        with pytest.raises(MasterKeyUnusable, match=sentence):
            load_master_keys([path])

    def test_no_key_is_overwritten_or_given_twice(self, tmp_path: Path) -> None:
        path = tmp_path / "master.key"
        make_master_key(path)
        with pytest.raises(MasterKeyUnusable, match="never overwritten"):
            make_master_key(path)
        with pytest.raises(MasterKeyUnusable, match="twice"):
            load_master_keys([path, path])
