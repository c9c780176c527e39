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
from synthcore.analysis.feature_specs import LogMel, stored_spec  # noqa: E402
from synthcore.analysis.features import log_mel  # noqa: E402
from synthcore.storage import features  # noqa: E402
from synthcore.storage.features import NewFeature  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def parted(learnable: Path) -> Path:
    """Eight rows to train with, four to validate and three to test, with log-mel spectra."""
    with h5py.File(learnable, "r+") as file:
        file["metadata/split"][:] = [b"train"] * 8 + [b"val"] * 4 + [b"test"] * 3
    with Dataset(learnable) as dataset:
        spec = LogMel(bands=32, hop_ms=20)
        spectra = [log_mel(audio, 22_050, spec) for audio in dataset.column("audio", np.arange(15))]
    features.write(learnable, [NewFeature("log_mel", stored_spec(spec, 22_050), [np.stack(spectra)])])
    return learnable


@pytest.fixture
def told(parted: Path) -> tuple[baseline.Menus, baseline.Rows]:
    """What is answered, and the rows to train with."""
    examples = Examples(parted, split="train", tier=1, parts=(*baseline.PARTS, "weights"), normalise=True)
    rows = baseline.read_split(examples)
    return baseline.Menus(examples, rows), rows


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
        (["{file}"], "has no feature log_mel"),
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


def test_it_learns_rows_by_heart(told):
    menus, rows = told
    network = baseline.train(rows, rows, menus, epochs=40)
    error, options, wavetables = baseline.score(menus.answers(baseline.hear(network, rows)), rows)
    usual = baseline.score(baseline.constants_of(rows, menus)["median"], rows)
    assert error < 0.3 * usual[0]
    assert options > 0.95 > usual[1]
    assert wavetables > 0.95 > usual[2]


def test_it_begins_with_what_is_usual(told):
    menus, rows = told
    network = baseline.Network(rows["log_mel"].shape[1], menus)
    usual = baseline.constants_of(rows, menus)["median"]
    for kind, answers in menus.answers(baseline.hear(network, rows)).items():
        assert_array_equal(answers, usual[kind].expand(len(answers), -1))


def test_what_cannot_be_heard_teaches_nothing(told):
    menus, rows = told
    scores = torch.randn(len(rows["row"]), *menus.is_open.shape).masked_fill(~menus.is_open, -torch.inf)
    loss = baseline.loss_of(scores, menus, rows)
    other = {**rows}
    for kind in baseline.KINDS:
        other[kind] = torch.where(rows[f"active_{kind}"], rows[kind], 0)
    assert baseline.loss_of(scores, menus, other) == loss
    assert baseline.loss_of(scores, menus, {**rows, "continuous": torch.zeros_like(rows["continuous"])}) != loss
    without = {name: values for name, values in rows.items() if not name.startswith("weights")}
    assert baseline.loss_of(scores, menus, without) != loss


def test_a_knob_is_answered_with_its_median(told):
    menus, _ = told
    scores = torch.full((1, *menus.is_open.shape), -torch.inf)
    scores[:, :, 0] = 0.0
    scores[0, 0, :3] = torch.tensor([0.3, 0.3, 0.4]).log()  # the third is likeliest, the second is in the middle
    answers = menus.answers(scores)
    assert answers["continuous"][0, 0] == menus.levels[0, 1]
    assert answers["continuous"][0, 1] == menus.levels[1, 0]
