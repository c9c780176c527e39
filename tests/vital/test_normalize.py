"""Unit values to values and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synthcore.vital.controls import installed
from synthcore.vital.normalize import to_units, to_values

CONTINUOUS = installed().continuous
SMOOTH = [c for c in CONTINUOUS if not c.is_whole]
WHOLE = [c for c in CONTINUOUS if c.is_whole]
LOW, HIGH = (np.array([getattr(c, end) for c in CONTINUOUS]) for end in ("low", "high"))
#: Half a step of float32 just below 1.
FLOAT32 = 2**-24


def units(count):
    return arrays(np.float32, count, elements=st.floats(0, 1, width=32))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(units(len(SMOOTH)))
def test_unit_values_come_back_from_their_values(given_units):
    back = to_units(SMOOTH, to_values(SMOOTH, given_units))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, given_units, rtol=0, atol=FLOAT32)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(units(len(CONTINUOUS)))
def test_values_stay_in_their_ranges(given_units):
    values = to_values(CONTINUOUS, given_units)
    span = HIGH - LOW
    assert (values >= LOW - 1e-9 * span).all()
    assert (values <= HIGH + 1e-9 * span).all()


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(units(len(CONTINUOUS)))
def test_what_is_stored_is_what_is_played(given_units):
    """Once quantised, a label no longer changes: rendering it again plays the same values."""
    stored = to_units(CONTINUOUS, to_values(CONTINUOUS, given_units))
    again = to_units(CONTINUOUS, to_values(CONTINUOUS, stored))
    np.testing.assert_allclose(again, stored, rtol=0, atol=FLOAT32)
    whole = [c.is_whole for c in CONTINUOUS]
    np.testing.assert_array_equal(again[whole], stored[whole])


@pytest.mark.parametrize("control", WHOLE, ids=lambda c: c.name)
def test_every_whole_number_comes_back_exactly(control):
    numbers = np.arange(control.low, control.high + 1)[:, None]
    np.testing.assert_array_equal(to_values([control], to_units([control], numbers)), numbers)


@pytest.mark.parametrize("control", WHOLE, ids=lambda c: c.name)
def test_between_whole_numbers_the_nearer_one_is_stored(control):
    asked = np.array([[control.low + 0.3], [control.high - 0.3]])
    np.testing.assert_array_equal(to_units([control], asked).ravel(), [0, 1])


@settings(max_examples=50, deadline=None)
@given(beyond=st.floats(0, 1e9))
def test_values_outside_the_range_are_clipped(beyond):
    np.testing.assert_array_equal(to_units(CONTINUOUS, LOW - beyond), 0)
    np.testing.assert_array_equal(to_units(CONTINUOUS, HIGH + beyond), 1)


def test_the_scale_is_linear():
    np.testing.assert_allclose(to_units(SMOOTH, np.array([c.low + 0.25 * (c.high - c.low) for c in SMOOTH])), 0.25)
    np.testing.assert_allclose(
        to_values(SMOOTH, np.full(len(SMOOTH), 0.25, np.float32)), [c.low + 0.25 * (c.high - c.low) for c in SMOOTH]
    )


def test_a_batch_is_converted_row_by_row():
    batch = np.linspace(LOW, HIGH, 4)
    stored = to_units(CONTINUOUS, batch)
    assert stored.shape == (4, len(CONTINUOUS))
    np.testing.assert_array_equal(stored, [to_units(CONTINUOUS, row) for row in batch])
