"""Train a baseline: log-mel spectrograms in, every control that the dataset varies out.

    python examples/train_baseline.py data/train.h5 --output answers.h5

It trains on the training split, keeps the epoch that answers the validation split best, and answers the test split,
whose families (patches that descend from each other) it has never met. It needs PyTorch, and minutes on two cores for
some thousand rows. Spectrograms are kept in memory: 23 kB for a second of stereo at 22,050 Hz.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from synthcore import Examples, Predictions, SynthcoreError

FFT, HOP, BANDS = 1024, 512, 64  # samples, samples, mel bands: 46 and 23 ms at 22,050 Hz
FLOOR_DB = -80.0  # of full scale; softer is as good as silent
PARTS = ("continuous", "categorical", "active", "midi_note", "velocity")

Rows = dict[str, torch.Tensor]  # columns of the same rows, as a batch has them, with `log_mel` instead of audio
#: Unit values (N, C) and option indices (N, K); or (C,) and (K,), the same for all rows.
Answers = tuple[torch.Tensor, torch.Tensor]


class Network(nn.Module):
    """From log-mels (B, channels, BANDS, frames) in dB to unit values (B, C) and scores of each control's options.

    Parameters
    ----------
    train : dict of tensors
        The training split, for its shapes and the range of its spectrograms.
    options : list of int
        How many options each categorical control has.
    """

    def __init__(self, train: Rows, options: list[int], width: int = 16) -> None:
        super().__init__()
        self.options = options
        heard = train["log_mel"]
        self.register_buffer("mean", heard.mean(dim=(0, 3), keepdim=True))
        self.register_buffer("deviation", heard.std(dim=(0, 3), keepdim=True) + 1)  # a silent band isn't blown up
        layers: list[nn.Module] = []
        channels = [heard.shape[1], width, 2 * width, 4 * width, 4 * width]
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.hear = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.think = nn.Sequential(nn.Linear(64 * width + 2, 512), nn.ReLU(), nn.Dropout(0.3))
        self.menus = nn.Linear(512, sum(options))
        # Knobs are answered as a difference from their medians, at first none: most are left where they usually are.
        self.register_buffer("median", constants_of(train)["median"][0])
        self.knobs = nn.Linear(512, len(self.median))
        nn.init.zeros_(self.knobs.weight)
        nn.init.zeros_(self.knobs.bias)

    def forward(self, rows: Rows) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        heard = self.hear((rows["log_mel"] - self.mean) / self.deviation)
        played = torch.stack([rows["midi_note"], rows["velocity"]], dim=1) / 127
        thought = self.think(torch.cat([heard, played], dim=1))
        return self.median + self.knobs(thought), self.menus(thought).split(self.options, dim=1)


def constants_of(train: Rows) -> dict[str, Answers]:
    """What to beat: the mean, or median, of each knob where it is heard, (C,), and each menu's usual option, (K,)."""
    knobs, menus = (masked(train[kind], train[f"active_{kind}"]) for kind in ("continuous", "categorical"))
    mode = torch.stack([menu[~menu.isnan()].mode().values for menu in menus.unbind(dim=1)]).long()
    return {"mean": (knobs.nanmean(dim=0), mode), "median": (knobs.nanmedian(dim=0).values, mode)}


def masked(labels: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Put NaN (N, controls) where a control can't be heard, but for controls that never can be."""
    return torch.where(active | ~active.any(dim=0), labels.float(), torch.nan)


def mel_bands(sample_rate: int) -> torch.Tensor:
    """Triangles, evenly spaced in mels, that sum the bins of a spectrum to bands: (bins, BANDS)."""
    mels = np.linspace(0, 2595 * np.log10(1 + sample_rate / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.linspace(0, sample_rate / 2, FFT // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.from_numpy(np.clip(np.minimum(rising, falling), 0, None).astype(np.float32))


def log_mel_of(audio: torch.Tensor, bands: torch.Tensor) -> torch.Tensor:
    """From audio (B, channels, samples) to log-mels (B, channels, BANDS, frames), in dB of full scale."""
    window = torch.hann_window(FFT)
    spectrum = torch.stft(audio.flatten(0, 1), FFT, HOP, window=window, return_complex=True).abs() * (2 / window.sum())
    power = torch.einsum("nft,fb->nbt", spectrum**2, bands)
    return (10 * torch.log10(power.clamp(min=10 ** (FLOOR_DB / 10)))).unflatten(0, audio.shape[:2])


def read_split(examples: Examples) -> Rows:
    """Read all rows once, and keep spectrograms instead of audio."""
    bands, batches = mel_bands(examples.dataset.spec.audio.sample_rate), []
    for start in range(0, len(examples), 256):
        read = examples.read(examples.rows[start : start + 256])
        batch = {name: torch.from_numpy(values) for name, values in read.items()}
        batches.append({**batch, "log_mel": log_mel_of(batch.pop("audio"), bands)})
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0] if name != "audio"}


def shuffled(rows: Rows, size: int) -> Iterator[Rows]:
    """Batches of one epoch, without the rest that doesn't fill one."""
    order = torch.randperm(len(rows["row"]))
    for start in range(0, max(len(order) - size, 0) + 1, size):
        yield {name: values[order[start : start + size]] for name, values in rows.items()}


def mean_over_active(losses: torch.Tensor, rows: Rows, kind: str, weighted: bool = False) -> torch.Tensor:
    """Average (B, controls) over what can be heard; in training, by how much it matters if the file knows."""
    counts = rows[f"active_{kind}"].float()
    if weighted and f"weights_{kind}" in rows:
        counts = counts * rows[f"weights_{kind}"]
    return (losses * counts).sum() / counts.sum().clamp(min=1e-6)


def loss_of(network: Network, rows: Rows) -> torch.Tensor:
    """Mean error of the knobs, and a share of the menus' cross-entropy; of both, only what can be heard."""
    values, scores = network(rows)
    chosen = rows["categorical"].long()
    wrong = [functional.cross_entropy(menu, chosen[:, i], reduction="none") for i, menu in enumerate(scores)]
    off = mean_over_active((values - rows["continuous"]).abs(), rows, "continuous", weighted=True)
    return off + 0.1 * mean_over_active(torch.stack(wrong, dim=1), rows, "categorical", weighted=True)


def train(rows: Rows, validation: Rows, options: list[int], epochs: int, seed: int = 0) -> Network:
    """Train, and return the network as it was after the epoch with the least validation error."""
    torch.manual_seed(seed)
    network, size = Network(rows, options), min(64, len(rows["row"]))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    steps = epochs * max(len(rows["row"]) // size, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    best, kept = float("inf"), copy.deepcopy(network.state_dict())
    for epoch in range(epochs):
        network.train()
        for batch in shuffled(rows, size):
            optimizer.zero_grad()
            loss_of(network, batch).backward()
            optimizer.step()
            schedule.step()
        error, accuracy = score(answer(network, validation), validation)
        print(f"epoch {epoch + 1}: validation error {error:.4f}, accuracy {accuracy:.3f}", flush=True)
        if error < best:
            best, kept = error, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return network


def answer(network: Network, rows: Rows) -> Answers:
    """Answer every row with the knobs: the values, and of each menu the option with the highest score."""
    network.eval()
    answers = []
    with torch.inference_mode():
        for start in range(0, len(rows["row"]), 256):
            values, scores = network({name: column[start : start + 256] for name, column in rows.items()})
            answers.append((values.clamp(0, 1), torch.stack([menu.argmax(dim=1) for menu in scores], dim=1)))
    return torch.cat([values for values, _ in answers]), torch.cat([options for _, options in answers])


def score(answers: Answers, rows: Rows) -> tuple[float, float]:
    """Mean error of the unit values that can be heard, and the share of right options among those that can be."""
    values, options = answers
    error = mean_over_active((values - rows["continuous"]).abs(), rows, "continuous")
    right = mean_over_active((options == rows["categorical"]).float(), rows, "categorical")
    return error.item(), right.item()


def write_answers(path: Path, examples: Examples, rows: Rows, answers: Answers) -> None:
    """Write answers by row number: `synthcore evaluate` renders them. Oscillators play the init preset's wavetable."""
    values, options = answers
    predictions = Predictions.create(path, examples.dataset)
    predictions.append(rows["row"].numpy(), continuous=values.numpy(), categorical=options.numpy())


def run(path: Path, output: Path, epochs: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Train, answer the test split, write the answers, and return all scores by name."""
    with_weights = Examples(path, split="train").dataset.weights_status == "complete"
    parts = ("audio", *PARTS, *(["weights"] if with_weights else []))
    examples = {split: Examples(path, split=split, parts=parts) for split in ("train", "val", "test")}
    rows = {split: read_split(part) for split, part in examples.items()}
    options = [len(control.options) for control in examples["train"].categorical]
    network = train(rows["train"], rows["val"], options, epochs, seed)
    answers = answer(network, rows["test"])
    write_answers(output, examples["test"], rows["test"], answers)
    compared = {"network": answers, **constants_of(rows["train"])}
    return {name: score(those, rows["test"]) for name, those in compared.items()}


def main() -> None:
    """Read the command line, and say how good the answers are beside those that hear nothing."""
    asked = argparse.ArgumentParser(description="Train a baseline on a dataset, and answer its test split.")
    asked.add_argument("dataset", type=Path)
    asked.add_argument("--output", type=Path, default=Path("answers.h5"), help="where to write the answers")
    asked.add_argument("--epochs", type=int, default=15)
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
    for name, (error, accuracy) in scores.items():
        print(f"{name:8} off by {error:.4f} of a knob's range; {accuracy:.1%} of the options right")


if __name__ == "__main__":
    main()
