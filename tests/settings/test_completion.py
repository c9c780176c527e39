"""Completion: the shells themselves are asked, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from synthcore.flows.cli import main
from synthcore.settings.commandline import flags
from synthcore.settings.commands import models


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def write(shell: str) -> Path:
        assert main(["completion", shell]) == 0
        file = tmp_path / f"synthcore.{shell}"
        file.write_text(capsys.readouterr().out)
        return file

    return write


def asked(shell: str, text: str) -> str:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([program, "-c", text], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["gen"], ["generate"]),
        (["generate", "--note"], ["--notes", "--notes-per-patch", "--note-seconds"]),
        (["generate", "--merge", ""], ["copy", "virtual"]),
        (["generate", "--tier", "3"], ["3"]),
        (["generate", "-n", "1", "--gr"], ["--grow-by"]),
        (["cache", "pr"], ["prune"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["generate", "-o", "--"], []),
        (["bogus", "--"], ["--help"]),
    ],
)
def test_bash_completes_commands_flags_and_values(script, words, offered):
    given = " ".join(f"'{word}'" for word in ["synthcore", *words])
    text = f"source {script('bash')}; complete -p synthcore >/dev/null; COMP_WORDS=({given}); COMP_CWORD={len(words)}; "
    shown = asked("bash", text + '_synthcore; printf "%s\\n" "${COMPREPLY[@]}"').split()
    assert sorted(shown) == sorted(offered)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("synthcore gen", ["generate"]),
        ("synthcore generate --merge ", ["copy", "virtual"]),
        ("synthcore generate --note", ["--note-seconds", "--notes", "--notes-per-patch"]),
        ("synthcore cache pr", ["prune"]),
    ],
)
def test_fish_completes_commands_flags_and_values(script, line, offered):
    shown = asked("fish", f"source {script('fish')}; complete -C '{line}'")
    assert sorted(entry.split("\t")[0] for entry in shown.splitlines()) == sorted(offered)


def test_zsh_takes_the_script(script):
    file = script("zsh")
    text = f"autoload -Uz compinit; compinit -D -u; source {file}; print $_comps[synthcore]"
    assert asked("zsh", f"emulate zsh; {text}").split() == ["_synthcore"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_names_every_command_and_flag(script, shell):
    text = script(shell).read_text()
    for model in models():
        assert model.command in text
        for flag in flags(model):
            assert flag.positional or flag.name.removeprefix("--") in text
