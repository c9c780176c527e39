"""The example that trains a baseline: it learns, answers rows it has never met, and gives the same answers again."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

torch = pytest.importorskip("torch")

from examples import train_baseline as baseline  # noqa: E402
from synthcore import Dataset, Examples, Predictions  # noqa: E402


@pytest.fixture
def parted(learnable: Path) -> Path:
    """Eight rows to train with, four to validate and three to test."""
    with h5py.File(learnable, "r+") as file:
        file["metadata/split"][:] = [b"train"] * 8 + [b"val"] * 4 + [b"test"] * 3
    return learnable


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of torch get into each other's way on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_answers_each_row_of_the_test_split_and_says_the_same_again(parted, tmp_path):
    outputs = [tmp_path / "first.h5", tmp_path / "second.h5"]
    scores = [baseline.run(parted, output, epochs=2, seed=7) for output in outputs]
    assert scores[0] == scores[1]
    assert scores[0].keys() == {"network", "mean", "median"}
    first, second = (Predictions(output) for output in outputs)
    assert_array_equal(first.rows, [12, 13, 14])
    assert first.patch_hashes == second.patch_hashes
    with Dataset(parted) as dataset:
        first.require_of(dataset)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gone.h5"], "gone.h5"),
        (["{file}"], r"has no row in the split test; make a larger one"),
        (["{file}", "--epochs", "0"], "--epochs is 0; it must be at least 1"),
        (["{file}", "--output", "nowhere/answers.h5"], "there is no folder nowhere"),
        (["{file}", "--output", "{file}"], "is there already; name another file with --output"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(learnable, monkeypatch, capsys, arguments, says):
    given = [argument.format(file=learnable) for argument in arguments]
    monkeypatch.setattr("sys.argv", ["train_baseline.py", *given])
    with pytest.raises(SystemExit) as ended:
        baseline.main()
    assert ended.value.code == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_it_learns_rows_by_heart(parted):
    examples = Examples(parted, split="train", parts=("audio", *baseline.PARTS))
    rows = baseline.read_split(examples)
    network = baseline.train(rows, rows, [len(control.options) for control in examples.categorical], epochs=60)
    error, accuracy = baseline.score(baseline.answer(network, rows), rows)
    of_median, of_mode = baseline.score(baseline.constants_of(rows)["median"], rows)
    assert error < 0.7 * of_median
    assert accuracy > of_mode


def test_what_cannot_be_heard_teaches_nothing(parted):
    examples = Examples(parted, split="train", parts=("audio", *baseline.PARTS, "weights"))
    rows = baseline.read_split(examples)
    torch.manual_seed(0)
    network = baseline.Network(rows, [len(control.options) for control in examples.categorical]).eval()
    loss = baseline.loss_of(network, rows)
    other = {
        **rows,
        "continuous": torch.where(rows["active_continuous"], rows["continuous"], 0.123),
        "categorical": torch.where(rows["active_categorical"], rows["categorical"], 0),
    }
    assert baseline.loss_of(network, other) == loss
    assert baseline.loss_of(network, {**rows, "continuous": torch.full_like(rows["continuous"], 0.123)}) != loss
    without = {name: values for name, values in rows.items() if not name.startswith("weights")}
    assert baseline.loss_of(network, without) != loss


def test_a_tone_is_where_its_frequency_is_and_silence_is_at_the_floor():
    rate, bands = 22_050, baseline.mel_bands(22_050)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(rate) / rate)
    heard = baseline.log_mel_of(torch.stack([tone, torch.zeros(rate)])[None], bands)
    assert heard.shape == (1, 2, baseline.BANDS, rate // baseline.HOP + 1)
    centre = torch.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), baseline.BANDS + 2)[1:-1]
    loudest = heard[0, 0, :, 40].argmax()
    assert loudest == (centre - 2595 * np.log10(1 + 1000 / 700)).abs().argmin()
    assert -6 < heard[0, 0, loudest, 40] < 3
    assert (heard[0, 1] == baseline.FLOOR_DB).all()
