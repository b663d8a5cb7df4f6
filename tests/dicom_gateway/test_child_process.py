from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.child_process import (
    ChildCrashed,
    ChildError,
    ChildLimits,
    ChildOutOfMemory,
    ChildTimedOut,
    run_child,
)


def probe(behaviour: str, limits: ChildLimits | None = None, **arguments: object) -> dict[str, object]:
    return run_child("probe", {"behaviour": behaviour, **arguments}, limits)


def test_a_child_answers_with_plain_values() -> None:
    answer = probe("echo", amount=[1, "zwei", None])
    assert answer["arguments"] == {"behaviour": "echo", "amount": [1, "zwei", None]}


def test_a_child_does_not_see_the_environment_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADMETER_DATABASE_URL", "postgresql://secret")
    environment = probe("echo")["environment"]
    assert isinstance(environment, list)
    assert "PATH" in environment
    assert not [name for name in environment if name.startswith("RADMETER")]


def test_memory_beyond_the_limit_ends_the_child_and_not_the_parent() -> None:
    limits = ChildLimits(memory_bytes=512 << 20)
    assert probe("allocate", limits, amount=64 << 20) == {"allocated_bytes": 64 << 20}
    with pytest.raises(ChildOutOfMemory, match="512 MiB"):
        probe("allocate", limits, amount=600 << 20)


def test_processor_time_beyond_the_limit_is_told_as_such() -> None:
    with pytest.raises(ChildTimedOut, match="1 s of processor time"):
        probe("spin", ChildLimits(cpu_s=1, wall_clock_s=30))


def test_a_child_that_hangs_is_killed_at_its_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(ChildTimedOut, match=r"within 0\.5 s"):
        probe("sleep", ChildLimits(wall_clock_s=0.5), amount=60)
    assert time.monotonic() - started < 10


def test_a_child_that_aborts_is_named_with_its_signal() -> None:
    with pytest.raises(ChildCrashed, match="SIGABRT"):
        probe("abort")


def test_what_a_failing_child_says_is_kept_bounded_and_out_of_the_message() -> None:
    with pytest.raises(ChildCrashed, match="exit status 1") as caught:
        probe("fail")
    assert "as asked for" not in str(caught.value)
    assert 0 < len(caught.value.stderr_tail) <= 4096


def test_a_file_beyond_the_limit_cannot_be_written(tmp_path: Path) -> None:
    target = tmp_path / "large"
    with pytest.raises(ChildError):
        probe("write", ChildLimits(file_bytes=1 << 20), path=str(target), amount=2 << 20)
    assert target.stat().st_size <= 1 << 20


def test_only_named_functions_can_be_called() -> None:
    with pytest.raises(ChildCrashed):
        run_child("os.system", {"command": "true"})


def test_children_run_side_by_side() -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: probe("sleep", amount=1.0), range(4)))
    assert time.monotonic() - began < 3.5


def test_a_child_that_is_killed_at_its_deadline_is_gone_when_that_is_told(tmp_path: Path) -> None:
    pid_path = tmp_path / "pid"
    with pytest.raises(ChildTimedOut):
        probe("sleep", ChildLimits(wall_clock_s=1.0), amount=60, pid_path=str(pid_path))
    assert _is_gone(int(pid_path.read_text()))


def test_when_the_process_that_children_are_forked_from_dies_another_takes_its_place() -> None:
    first = _forked_from()
    os.kill(first, signal.SIGKILL)
    assert _soon(lambda: _is_gone(first))
    second = _forked_from()
    assert second != first


def test_a_child_keeps_no_descriptor_of_anybody_else() -> None:
    descriptors = probe("echo")["descriptors"]
    assert set(descriptors) <= {"0", "1", "2"}


def _forked_from() -> int:
    """The process id of the server of children."""
    answer = probe("echo")
    return int(str(answer["session_of_minder"]))


@pytest.mark.skipif(sys.platform != "linux", reason="the signal on the parent's death is Linux's")
def test_a_killed_parent_leaves_no_child_behind(tmp_path: Path) -> None:
    pid_path = tmp_path / "pid"
    call = (
        "from dicom_gateway.child_process import run_child;"
        f"run_child('probe', {{'behaviour': 'sleep', 'amount': 60, 'pid_path': {str(pid_path)!r}}})"
    )
    parent = subprocess.Popen([sys.executable, "-c", call], cwd=Path(__file__).parents[2])
    child_pid = int(_soon(lambda: pid_path.read_text() if pid_path.exists() else ""))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _soon(lambda: _is_gone(child_pid)), "the child outlived its parent"


def _is_gone(pid: int) -> bool:
    """Ended; it may stay a zombie where nobody reaps orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _soon(value: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := value()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
