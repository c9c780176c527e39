"""Licences: what may be published that is made from other people's presets, and what is never guessed at."""

from __future__ import annotations

import pytest

from synthcore.base.errors import SpecError, SynthcoreError
from synthcore.publishing.licences import Verdict, judge, licences, require_licence


@pytest.mark.parametrize(
    ("stated", "licence"),
    [
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("cc0-1.0", "CC0-1.0"),
        ("CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("GPL-3.0", "GPL-3.0-only"),
        ("GPL-2.0+", "GPL-2.0-or-later"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only"),
        ("CC-BY-ND-4.0 OR MIT", "MIT"),
        ("MIT AND ISC", "ISC AND MIT"),
        ("WTFPL AND (CC-BY-ND-4.0 OR CC-BY-3.0)", "CC-BY-3.0"),
    ],
)
def test_what_is_made_from_one_preset_is_under_its_licence(stated, licence):
    assert judge([stated]) == Verdict(licence=licence)


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ("none stated", "no licence stated"),
        ("unknown", "no licence stated"),
        ("", "no licence stated"),
        ("noassertion", "no licence stated"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0 allows no changed copies, as a rendered row is"),
        ("CC-BY-NC-ND-4.0 OR CC-BY-ND-3.0", "CC-BY-NC-ND-4.0 allows no changed copies, as a rendered row is"),
        ("MIT AND CC-BY-ND-4.0", "CC-BY-ND-4.0 allows no changed copies, as a rendered row is"),
        ("OFL-1.1", "OFL-1.1 is not in the table of licences"),
        ("CC0", "'CC0' is not an SPDX licence"),
        ("Royalty free", "'Royalty free' is not an SPDX licence"),
        ("MIT OR", "'MIT OR' is not an SPDX licence"),
        ("LicenseRef-scancode-public-domain", "'LicenseRef-scancode-public-domain' is not an SPDX licence"),
    ],
)
def test_what_is_not_clearly_allowed_is_left_out_with_the_reason(stated, reason):
    assert judge([stated]) == Verdict(reason=reason)


@pytest.mark.parametrize(
    ("stated", "licence"),
    [
        (("CC-BY-4.0", "CC-BY-4.0"), "CC-BY-4.0"),
        (("CC0-1.0", "CC0-1.0"), "CC0-1.0"),
        (("CC0-1.0", "MIT"), "MIT"),
        (("MIT", "CC-BY-NC-4.0"), "CC-BY-NC-4.0 AND MIT"),
        (("CC-BY-SA-4.0", "CC-BY-4.0"), "CC-BY-4.0 AND CC-BY-SA-4.0"),
        (("CC-BY-NC-SA-4.0", "CC-BY-NC-4.0"), "CC-BY-NC-4.0 AND CC-BY-NC-SA-4.0"),
        (("CC-BY-SA-4.0", "CC-BY-NC-4.0 OR MIT"), "CC-BY-SA-4.0 AND MIT"),
        (("CC-BY-4.0", "CC-BY-NC-SA-4.0"), "CC-BY-4.0 AND CC-BY-NC-SA-4.0"),
        (("GPL-3.0-only", "MIT"), "GPL-3.0-only AND MIT"),
    ],
)
def test_what_is_made_from_two_presets_is_under_both_licences(stated, licence):
    assert judge(stated) == judge(stated[::-1]) == Verdict(licence=licence)


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (("CC-BY-SA-4.0", "CC-BY-SA-3.0"), "licences that can't be joined: CC-BY-SA-3.0, CC-BY-SA-4.0"),
        (("CC-BY-SA-4.0", "GPL-3.0-only"), "licences that can't be joined: CC-BY-SA-4.0, GPL-3.0-only"),
        (("CC-BY-SA-4.0", "CC-BY-NC-4.0"), "licences that can't be joined: CC-BY-NC-4.0, CC-BY-SA-4.0"),
        (("GPL-2.0-only", "Apache-2.0"), "licences that can't be joined: Apache-2.0, GPL-2.0-only"),
        (("GPL-3.0-only", "CC-BY-4.0"), "licences that can't be joined: CC-BY-4.0, GPL-3.0-only"),
        (("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0"), "licences that can't be joined: CC-BY-NC-SA-4.0, CC-BY-SA-4.0"),
        (("MIT", "none stated"), "no licence stated"),
        (("MIT", "CC-BY-ND-4.0"), "CC-BY-ND-4.0 allows no changed copies, as a rendered row is"),
    ],
)
def test_licences_that_contradict_each_other_leave_a_variation_out(stated, reason):
    assert judge(stated) == judge(stated[::-1]) == Verdict(reason=reason)


def test_an_expression_with_endless_choices_costs_no_time():
    stated = " AND ".join(f"(MIT OR {name})" for name in [*licences().of] * 9)
    assert judge([stated]).reason.endswith("is not an SPDX licence")


def test_ones_own_licence_is_spelt_as_spdx_does():
    assert require_licence("cc-by-4.0") == "CC-BY-4.0"
    assert require_licence("mit or cc-by-nd-4.0") == "MIT OR CC-BY-ND-4.0"
    assert require_licence("OFL-1.1") == "OFL-1.1"  # one's own may be any


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("CC0", "CC0-1.0"),
        ("cc by 4.0", "CC-BY-4.0"),
        ("cc-by", "CC-BY-4.0"),
        ("MIT OR Apache", "Apache-2.0"),
        ("GPL-3", "GPL-3.0-only"),
    ],
)
def test_a_licence_that_is_none_is_refused_with_the_nearest(given, meant):
    with pytest.raises(SpecError, match=f"is not an SPDX licence .did you mean {meant}.*spdx.org/licenses"):
        require_licence(given)


@pytest.mark.parametrize("given", ["", "free", "MIT OR", "(" * 3000 + "MIT"])
def test_words_that_are_no_licence_are_refused_in_one_line(given):
    with pytest.raises(SpecError, match=r"^[^\n]*is not an SPDX licence[^\n]*$"):
        require_licence(given)


@pytest.mark.slow
def test_without_the_library_nothing_is_taken_for_unlicensed(fresh):
    code = """
from synthcore.publishing.licences import judge
judge(["MIT"])
"""
    refused = fresh(code, without=("license_expression",), check=False).stderr.splitlines()[-1]
    assert refused.endswith(
        f"{SynthcoreError.__name__}: publishing needs license-expression: pip install 'synthcore[publish]'"
    )


def test_the_table_knows_ids_as_spdx_spells_them_each_once():
    ids = [name for terms in licences().terms for name in terms.ids]
    assert len(ids) == len({*ids})
    assert [require_licence(name) for name in ids] == ids
    assert licences().hub.keys() <= {*ids}


def test_what_a_licence_asks_for_is_said_in_words():
    assert licences().of["CC0-1.0"].text == "anything"
    assert licences().of["MIT"].text == "authors named"
    words = "non-commercial use only, authors named, changes under the same licence"
    assert licences().of["CC-BY-NC-SA-4.0"].text == words
    assert licences().of["CC-BY-ND-4.0"].text == "no changes, authors named"
