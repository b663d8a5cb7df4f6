"""What a user may meet is written where users read: settings, statuses, commands, links."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from models.errors import UnfitInput
from pipeline.status import StudyStatus
from server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
PAGES = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("models/*/*.md"),
    ]
    if not path.parts[len(ROOT.parts)].startswith(".")
)


def settings_rows() -> dict[str, str]:
    """Variable → its row in the table of docs/settings.md."""
    rows = re.findall(r"(?m)^\| `(RADMETER_\w+)` \|.*$", SETTINGS_PAGE.read_text(encoding="utf-8"))
    lines = re.findall(r"(?m)^\| `RADMETER_\w+` \|.*$", SETTINGS_PAGE.read_text(encoding="utf-8"))
    return dict(zip(rows, lines, strict=True))


class TestSettings:
    @pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
    def test_every_setting_is_documented_with_its_default(self, setting) -> None:
        row = settings_rows().get(setting.metadata["variable"])
        assert row is not None, f"add {setting.metadata['variable']} to docs/settings.md"
        default = str(setting.default).lower() if isinstance(setting.default, bool) else str(setting.default)
        assert f"`{default}`" in row if default else "empty" in row, row

    @pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
    def test_every_setting_has_a_sentence(self, setting) -> None:
        assert setting.metadata["description"].rstrip().endswith(".")

    def test_no_page_names_a_setting_that_does_not_exist(self) -> None:
        sources = "\n".join(
            path.read_text(encoding="utf-8")
            for pattern in ("*/*.py", "*/*/*.py", "Makefile", ".ci/run", "scripts/*.sh")
            for path in ROOT.glob(pattern)
            if ".venv" not in path.parts[len(ROOT.parts)] and path != Path(__file__)
        )
        known = {setting.metadata["variable"] for setting in fields(Settings)}
        known |= set(re.findall(r"\bRADMETER_[A-Z_]+[A-Z]\b", sources))
        named = {
            f"{page.relative_to(ROOT)}: {name}"
            for page in PAGES
            for name in re.findall(r"\bRADMETER_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8"))
            if name not in known
        }
        assert named == set()


class TestStatuses:
    @pytest.mark.parametrize("status", StudyStatus)
    def test_every_status_is_explained_where_users_read(self, status: StudyStatus) -> None:
        page = (ROOT / "docs" / "statuses.md").read_text(encoding="utf-8")
        assert re.search(rf"(?m)^\| `{status.value}` \| \S", page), (
            f"add `{status.value}` to docs/statuses.md"
        )

    def test_no_status_is_explained_that_does_not_exist(self) -> None:
        page = (ROOT / "docs" / "statuses.md").read_text(encoding="utf-8")
        table = page.split("## Reason codes")[0]
        assert set(re.findall(r"(?m)^\| `(\w+)` \|", table)) == {status.value for status in StudyStatus}

    def test_every_reason_code_is_explained_where_users_read(self) -> None:
        """Decoding has its own page and its own test, beside its errors."""
        page = (ROOT / "docs" / "statuses.md").read_text(encoding="utf-8")
        raised = {error.code for error in (UnfitInput, *UnfitInput.__subclasses__())}
        for path in (ROOT / "pipeline").glob("*.py"):
            text = path.read_text(encoding="utf-8")
            raised |= set(re.findall(r'(?:Unfit|StudyFailed|StudyRefused)\(\s*"([A-Z_]+)"', text))
        assert len(raised) > 5, "the codes are written in another way now"
        assert {code for code in raised if not re.search(rf"(?m)^\| `{code}` \| \S", page)} == set()


class TestCommands:
    def test_every_make_target_that_a_page_names_exists(self) -> None:
        targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
        named = {
            (page.name, target)
            for page in PAGES
            for target in re.findall(r"(?m)(?:^ {4}|`)make ([a-z-]+)", page.read_text(encoding="utf-8"))
        }
        assert {(page, target) for page, target in named if target not in targets} == set()

    def test_every_radmeter_command_that_a_page_names_exists(self) -> None:
        import typer.main

        from server.cli import app

        commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
        named = {
            (str(page.relative_to(ROOT)), command)
            for page in PAGES
            for command in re.findall(
                r"(?m)(?:^ {4}[\w./]*|`)radmeter ([a-z-]+)", page.read_text(encoding="utf-8")
            )
        }
        assert {(page, command) for page, command in named if command not in commands} == set()


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
    def test_every_local_link_leads_somewhere(self, page: Path) -> None:
        targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
        assert [target for target in targets if not (page.parent / target).exists()] == []

    @pytest.mark.parametrize("name", ["CONTRIBUTING.md", "README.md"])
    def test_every_file_that_a_page_sends_the_reader_to_exists(self, name: str) -> None:
        named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", (ROOT / name).read_text(encoding="utf-8"))
        inside = [path for path in named if (ROOT / path.split("/")[0]).is_dir()]
        assert inside
        assert [path for path in inside if not (ROOT / path).exists()] == []
