"""Killed in the middle of a delivery: what was stored stays, the rest is sent, and the charge is one."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from pipeline import deliveries, study_path
from tests.pipeline.delivery.conftest import KINDS, Post
from tests.scripted_pacs import ScriptedPacs


class Killed(BaseException):
    """Stands for SIGKILL: nothing on the path may catch it."""


def ready(post: Post, pacs: ScriptedPacs) -> None:
    post.add("pacs", pacs.port)
    post.route_to("pacs")
    post.start()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_killed_before_an_answer_is_stored_only_that_object_is_sent_twice(
    post: Post, pacs: ScriptedPacs, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    ready(post, pacs)
    store_answer, calls = deliveries.record_outcome, iter(range(1, 10))

    def killed(*values: Any) -> str:
        if next(calls) == at:
            raise Killed
        return store_answer(*values)

    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "record_outcome", killed)
        with pytest.raises(Killed):
            post.run("pacs")
    assert list(post.states().values()).count("acknowledged") == at - 1
    assert post.usage() == []
    post.run("pacs")
    assert post.row().status == "delivered"
    assert post.usage() == [("result_delivered", "first_delivery")]
    contents = [pacs.received[f"1.2.3.{number}"] for number in (1, 2, 3)]
    assert [len(set(one)) for one in contents] == [1, 1, 1], "one UID with two contents"
    assert sum(len(one) for one in contents) == len(KINDS) + 1


def test_the_last_acknowledgement_the_end_and_the_charge_stand_or_fall_together(
    post: Post, pacs: ScriptedPacs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(post, pacs)

    def gone(*_: Any, **__: Any) -> None:
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(study_path, "record_outcome", gone)
        with pytest.raises(psycopg.OperationalError):
            post.run("pacs")
    assert sorted(post.states().values()) == ["acknowledged", "acknowledged", "waiting"]
    assert (post.row().status, post.usage()) == ("encoded", [])
    post.run("pacs")
    assert (post.row().status, post.usage()) == ("delivered", [("result_delivered", "first_delivery")])
