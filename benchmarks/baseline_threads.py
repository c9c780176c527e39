"""What vita's own documentation shows: a pool of threads, a synth to each, and a wav file for every note.

As its readme has it under "Parallel rendering with threads", with the audio written as its example writes it. Nothing
is settled, isolated, judged, compressed or labelled.

Run as `python -m benchmarks.baseline_threads PRESETS WORKERS OUTPUT AUDIO`; prints a JSON report.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import vita
from scipy.io import wavfile

from synthcore.spec import AudioSpec

_local = threading.local()


def render_preset(path: Path, output: Path, audio: AudioSpec) -> int:
    """Render every note of a preset into files; return the bytes written."""
    synth = getattr(_local, "synth", None)
    if synth is None:
        synth = _local.synth = vita.Synth()  # one to a thread
        synth.set_sample_rate(audio.sample_rate)
    synth.load_preset(str(path))
    size = 0
    for played in audio.performances:
        sound = synth.render(played.note, played.velocity / 127, played.note_seconds, audio.render_seconds)
        wav = output / f"{path.stem}-{played.note}.wav"
        wavfile.write(wav, audio.sample_rate, sound.T)
        size += wav.stat().st_size
    return size


def generate(presets: Path, workers: int, output: Path, audio: AudioSpec) -> dict[str, Any]:
    """Render a folder of presets."""
    paths = sorted(presets.glob("*.vital"))
    output.mkdir()
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        sizes = list(pool.map(lambda path: render_preset(path, output, audio), paths))
    seconds = time.monotonic() - started
    return {"rows": len(paths) * audio.rows_per_patch, "seconds": seconds, "bytes": sum(sizes)}


if __name__ == "__main__":
    given, threads, where, played = sys.argv[1:5]
    print(json.dumps(generate(Path(given), int(threads), Path(where), AudioSpec.model_validate_json(played))))
