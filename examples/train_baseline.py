"""Train a baseline: log-mel spectrograms in, every control that the dataset varies out.

    synthcore generate --tier 1 -n 6000 --notes 36..84 --notes-per-patch 1 --features log-mel -o data/train.h5
    python examples/train_baseline.py data/train.h5 --output answers.h5

It trains on the training split, keeps the epoch with the least loss in the validation split, and answers the test
split, whose families (patches that descend from each other) it has never met. It needs PyTorch, and minutes on two
cores for some thousand rows. Spectra are kept in memory: 100 kB for a second of stereo.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from synthcore import Dataset, Examples, Predictions, SynthcoreError

PARTS = ("log_mel", "continuous", "categorical", "wavetables", "active", "midi_note", "velocity")
KINDS = ("continuous", "categorical", "wavetables")  # what is answered, in this order
LEVELS = 32  # at most so many values are told apart of a knob

Rows = dict[str, torch.Tensor]  # columns of the same rows, as a batch has them
Answers = dict[str, torch.Tensor]  # those of KINDS, (N, columns)


class Menus:
    """What is answered, all as menus: knobs, categorical controls, and the oscillators' wavetables.

    The options of a knob are quantiles of the values that it has in training. Most knobs are often left where they
    usually are, so that many quantiles are one value, and a knob has fewer options than LEVELS.

    Attributes
    ----------
    levels : tensor, shape (C, options)
        The unit values that each knob's options stand for, rising; infinite beyond the last.
    usual : tensor, shape (menus, options)
        Logarithms of how often each option is chosen in training.
    is_open : tensor, shape (menus, options), bool
        Whether a menu has so many options.
    """

    def __init__(self, examples: Examples, train: Rows) -> None:
        marks = (torch.arange(LEVELS) + 0.5) / LEVELS
        knobs = masked(train["continuous"], train["active_continuous"]).unbind(1)
        levels = [knob.nanquantile(marks, interpolation="nearest").unique() for knob in knobs]
        self.levels = nn.utils.rnn.pad_sequence(levels, batch_first=True, padding_value=torch.inf)
        counts = [*map(len, levels), *(len(control.options) for control in examples.categorical)]
        counts += [len(examples.classes.wavetables)] * 3  # oscillators
        self.is_open = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
        chosen = masked(self.chosen(train), joined(train, "active_")).unbind(1)
        often = torch.stack([(menu[:, None] == torch.arange(max(counts))).sum(0) for menu in chosen])
        self.usual = (often + 0.5).log()

    def chosen(self, rows: Rows) -> torch.Tensor:
        """The options that rows have, (N, menus); of a knob the nearest."""
        knobs = zip(rows["continuous"].unbind(1), self.levels, strict=True)
        nearest = torch.stack([(values[:, None] - levels).abs().argmin(1) for values, levels in knobs], 1)
        return torch.cat([nearest, rows["categorical"], rows["wavetables"]], 1).long()

    def answers(self, scores: torch.Tensor) -> Answers:
        """From scores (N, menus, options): of a knob the median, which is least far off; else the likeliest option."""
        knobs, menus = scores.softmax(2).split([len(self.levels), scores.shape[1] - len(self.levels)], 1)
        at = (knobs.cumsum(2) < 0.5).sum(2)
        values = torch.stack([levels[place] for levels, place in zip(self.levels, at.unbind(1), strict=True)], 1)
        options = menus.argmax(2)
        return {"continuous": values, "categorical": options[:, :-3], "wavetables": options[:, -3:]}


class Network(nn.Module):
    """From log-mels (B, channels, bands, frames), normalised, to scores (B, menus, options)."""

    def __init__(self, channels: int, menus: Menus, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.AvgPool2d((1, 2), ceil_mode=True)]  # pairs of frames: half the work
        for before, after in itertools.pairwise([channels, width, 2 * width, 4 * width, 4 * width]):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.hear = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((8, 4)), nn.Flatten())
        self.think = nn.Sequential(nn.Linear(32 * 4 * width + 2, 512), nn.ReLU(), nn.Dropout(0.3))
        self.say = nn.Linear(512, menus.usual.numel())
        # It begins with what is usual, as good as the best answer that hears nothing.
        nn.init.zeros_(self.say.weight)
        self.say.bias.data = menus.usual.clone().flatten()
        self.register_buffer("is_open", menus.is_open)

    def forward(self, rows: Rows) -> torch.Tensor:
        played = torch.stack([rows["midi_note"], rows["velocity"]], 1) / 127
        thought = self.think(torch.cat([self.hear(rows["log_mel"]), played], 1))
        return self.say(thought).unflatten(1, self.is_open.shape).masked_fill(~self.is_open, -torch.inf)


def masked(labels: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Put NaN (N, columns) where a label can't be heard, but for those that never can be."""
    return torch.where(active | ~active.any(0), labels.float(), torch.nan)


def joined(rows: Rows, prefix: str = "") -> torch.Tensor:
    """The columns of all KINDS side by side: (N, menus)."""
    return torch.cat([rows[prefix + kind] for kind in KINDS], 1)


def read_split(examples: Examples) -> Rows:
    """Read all rows. A wavetable can be heard where its oscillator's level can be, and has a weight of 1."""
    rows = {name: torch.from_numpy(values) for name, values in examples.read(examples.rows).items()}
    names, active = [control.name for control in examples.continuous], rows["active_continuous"]
    played = [f"osc_{oscillator}_level" for oscillator in (1, 2, 3)]
    never = torch.zeros(len(examples), dtype=torch.bool)
    heard = [active[:, names.index(level)] if level in names else never for level in played]
    return {**rows, "active_wavetables": torch.stack(heard, 1), "weights_wavetables": torch.ones(len(examples), 3)}


def shuffled(rows: Rows, size: int) -> Iterator[Rows]:
    """Batches of one epoch, without the rest that doesn't fill one."""
    order = torch.randperm(len(rows["row"]))
    for start in range(0, max(len(order) - size, 0) + 1, size):
        yield {name: values[order[start : start + size]] for name, values in rows.items()}


def loss_of(scores: torch.Tensor, menus: Menus, rows: Rows) -> torch.Tensor:
    """Mean cross-entropy of what can be heard, weighted by how much it matters if the file knows."""
    counts = joined(rows, "active_").float()
    if "weights_continuous" in rows:
        counts = counts * joined(rows, "weights_")
    wrong = functional.cross_entropy(scores.transpose(1, 2), menus.chosen(rows), reduction="none")
    return (wrong * counts).sum() / counts.sum().clamp(min=1e-6)


def train(rows: Rows, validation: Rows, menus: Menus, epochs: int, seed: int = 0) -> Network:
    """Train, and return the network as it was after the epoch with the least validation loss."""
    torch.manual_seed(seed)
    network, size = Network(rows["log_mel"].shape[1], menus), min(64, len(rows["row"]))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    steps = epochs * max(len(rows["row"]) // size, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    best, kept = float("inf"), copy.deepcopy(network.state_dict())
    for epoch in range(epochs):
        network.train()
        for batch in shuffled(rows, size):
            optimizer.zero_grad()
            loss_of(network(batch), menus, batch).backward()
            optimizer.step()
            schedule.step()
        scores = hear(network, validation)
        loss, figures = loss_of(scores, menus, validation).item(), score(menus.answers(scores), validation)
        print(f"epoch {epoch + 1}: validation loss {loss:.4f}; {in_words(figures)}", flush=True)
        if loss < best:
            best, kept = loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return network


def hear(network: Network, rows: Rows) -> torch.Tensor:
    """The network's scores (N, menus, options) of all rows."""
    network.eval()
    starts = range(0, len(rows["row"]), 256)
    with torch.inference_mode():
        return torch.cat([network({name: of[start : start + 256] for name, of in rows.items()}) for start in starts])


def constants_of(train: Rows, menus: Menus) -> dict[str, Answers]:
    """What to beat, (1, columns): the mean or median of each knob where it is heard, and of all else what is usual."""
    median = menus.answers(menus.usual.masked_fill(~menus.is_open, -torch.inf)[None])
    mean = masked(train["continuous"], train["active_continuous"]).nanmean(0, keepdim=True)
    return {"mean": {**median, "continuous": mean}, "median": median}


def score(answers: Answers, rows: Rows) -> tuple[float, float, float]:
    """How far off knobs are, and the shares of right options and right wavetables; of all, only what can be heard."""
    errors = [(rows["continuous"] - answers["continuous"]).abs()]
    errors += [(rows[kind] == answers[kind]).float() for kind in KINDS[1:]]
    counts = [rows[f"active_{kind}"].float() for kind in KINDS]
    off, *right = ((error * of).sum() / of.sum() for error, of in zip(errors, counts, strict=True))
    return off.item(), right[0].item(), right[1].item()


def in_words(figures: tuple[float, float, float]) -> str:
    """Say what `score` found."""
    off, options, wavetables = figures
    return f"off by {off:.4f} of a knob's range; {options:.1%} of the options right, {wavetables:.1%} of the wavetables"


def run(path: Path, output: Path, epochs: int, seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Train, answer the test split, write the answers, and return all figures by name."""
    with Dataset(path) as dataset:
        parts = (*PARTS, *(["weights"] if dataset.weights_status == "complete" else []))
    examples = {split: Examples(path, split=split, parts=parts, normalise=True) for split in ("train", "val", "test")}
    rows = {split: read_split(part) for split, part in examples.items()}
    menus = Menus(examples["train"], rows["train"])
    answers = menus.answers(hear(train(rows["train"], rows["val"], menus, epochs, seed), rows["test"]))
    predictions = Predictions.create(output, examples["test"].dataset)
    predictions.append(rows["test"]["row"].numpy(), **{kind: answers[kind].numpy() for kind in KINDS})
    compared = {"network": answers, **constants_of(rows["train"], menus)}
    return {name: score(those, rows["test"]) for name, those in compared.items()}


def main() -> None:
    """Read the command line, and say how good the answers are beside those that hear nothing."""
    asked = argparse.ArgumentParser(description="Train a baseline on a dataset, and answer its test split.")
    asked.add_argument("dataset", type=Path)
    asked.add_argument("--output", type=Path, default=Path("answers.h5"), help="where to write the answers")
    asked.add_argument("--epochs", type=int, default=12)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    if given.epochs < 1:
        asked.error(f"--epochs is {given.epochs}; it must be at least 1")
    if given.output.exists():
        asked.error(f"{given.output} is there already; name another file with --output")
    if not given.output.parent.is_dir():
        asked.error(f"there is no folder {given.output.parent} to write answers into; make it first")
    try:
        scores = run(given.dataset, given.output, given.epochs, given.seed)
    except SynthcoreError as refused:
        asked.exit(refused.exit_code, f"{refused}\n")
    for name, figures in scores.items():
        print(f"{name:8} {in_words(figures)}")


if __name__ == "__main__":
    main()
