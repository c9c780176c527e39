"""Trials of equivalences: rules that hold are verified, and one that doesn't is named with its rows."""

from __future__ import annotations

import pytest

from synthcore.flows.cli import main
from synthcore.verification.equivalence_trials import CANONICAL, EquivalencesVerdict
from synthcore.vital import equivalences
from synthcore.vital.equivalences import Rule, Table, equivalence_rules


@pytest.mark.slow
def test_rows_are_the_same_sound_under_other_labels(tier_3, capsys):
    assert main(["verify", str(tier_3.path), "--equivalences", "--rows", "2", "--json"]) == 0
    verdict = EquivalencesVerdict.model_validate_json(capsys.readouterr().out)
    assert (verdict.rows, verdict.holds) == (2, True)
    assert [found.rule for found in verdict.rules] == [*(rule.id for rule in equivalence_rules().rule), CANONICAL]
    by_rule = {found.rule: found for found in verdict.rules}
    assert by_rule["filters"].tried == by_rule["filters"].exact == 2
    assert by_rule["modulation slots"].exact == by_rule["modulation slots"].tried > 0


@pytest.mark.slow
def test_a_rule_that_is_wrong_is_named_with_its_row(tier_1, capsys, monkeypatch):
    wrong = Rule(id="envelopes 1 and 2", kind="swap", modules=("env_1", "env_2"), first="attack", reason="")
    monkeypatch.setattr(equivalences, "equivalence_rules", lambda: Table(version=1, rule=(wrong,)))
    monkeypatch.setattr("synthcore.verification.equivalence_trials.equivalence_rules", equivalences.equivalence_rules)
    monkeypatch.setattr(equivalences, "_looked_up", {})
    assert main(["verify", str(tier_1.path), "--equivalences", "--rows", "1"]) == 1
    said = capsys.readouterr().out
    assert "1 row tried, 0 held, 0 bit for bit; at most" in said
    assert "broken by row" in said
    assert said.endswith("NOT verified\n")


def test_two_tests_at_a_time_are_refused(tier_1, capsys):
    assert main(["verify", str(tier_1.path), "--equivalences", "--activity"]) == 2
    assert "leave one out" in capsys.readouterr().err
