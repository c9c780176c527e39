"""The least that rendering can cost: a loop over presets with one synth, nothing kept.

Run as `python -m benchmarks.raw PRESETS AUDIO`; prints a JSON report. Waits for a line on stdin before it begins, so
that several can begin at once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import vita

from synthcore.spec import AudioSpec


def main() -> None:
    """Load and render every preset."""
    documents = [path.read_text() for path in sorted(Path(sys.argv[1]).glob("*.vital"))]
    audio = AudioSpec.model_validate_json(sys.argv[2])
    synth = vita.Synth()
    synth.set_sample_rate(audio.sample_rate)
    synth.render(60, 0.8, 0.1, 0.2)  # fills the synth's lazy tables
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.monotonic()
    for document in documents:
        synth.load_json(document)
        for played in audio.performances:
            synth.render(played.note, played.velocity / 127, played.note_seconds, audio.render_seconds)
    print(json.dumps({"rows": len(documents) * audio.rows_per_patch, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main()
