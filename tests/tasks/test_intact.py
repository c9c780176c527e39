"""What was cached, but is gone, is done again; and nothing else is."""

from __future__ import annotations

from synthcore.tasks.intact import redo_lost


def test_only_what_is_lost_is_done_again_and_takes_its_place() -> None:
    redone = []

    def redo(plans: list[str]) -> list[str]:
        redone.append(plans)
        return [f"{plan} again" for plan in plans]

    results = redo_lost(["a", "b", "c", "d"], ["a made", "", "c made", ""], is_lost=lambda made: not made, redo=redo)
    assert results == ["a made", "b again", "c made", "d again"]
    assert redone == [["b", "d"]]


def test_where_nothing_is_lost_nothing_is_done() -> None:
    def redo(plans: list[str]) -> list[str]:
        raise AssertionError(plans)

    assert redo_lost(["a"], ["a made"], is_lost=lambda made: not made, redo=redo) == ["a made"]
