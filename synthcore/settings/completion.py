"""Shell completion of commands, flags and their values: a script that starts no process to complete a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import BaseModel

from synthcore.settings.commandline import Flag, flags

#: Metavars of flags that take a path, which the shell completes by itself.
PATHS = ("FILE", "DIR", "OTHER")


def script(shell: str, models: Mapping[str, type[BaseModel]]) -> str:
    """Write the script of a shell.

    Parameters
    ----------
    shell : str
        bash, zsh or fish.
    models : mapping
        The settings of each command, by its name.
    """
    written: dict[str, Callable[[Mapping[str, type[BaseModel]]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    return written[shell](models)


def _flags_of(model: type[BaseModel]) -> list[Flag]:
    return [flag for flag in flags(model) if not flag.positional]


def _names(flag: Flag) -> list[str]:
    """How a flag is offered: a switch in the direction that changes something."""
    long = flag.shown if flag.is_switch else flag.name
    return [flag.short, long] if flag.short else [long]


def _alone(model: type[BaseModel]) -> str:
    """The words that can stand by themselves behind a command, such as list or prune; "" where that is a file."""
    return " ".join(choice for flag in flags(model) if flag.positional for choice in flag.choices)


def _bash(models: Mapping[str, type[BaseModel]]) -> str:
    values, names = [], []
    for command, model in models.items():
        names.append(f"    {command}) words='{' '.join(n for flag in _flags_of(model) for n in _names(flag))}' ;;")
        names[-1] = names[-1].replace("words='", f"alone='{_alone(model)}'; words='")
        for flag in _flags_of(model):
            if flag.choices:
                values += [f"    {command}:{name}) values='{' '.join(flag.choices)}' ;;" for name in _names(flag)]
            elif not flag.is_switch:
                values += [f"    {command}:{name}) values=- ;;" for name in _names(flag)]
    return f"""# synthcore completion bash: put it where bash finds it, as in
#   synthcore completion bash > ~/.local/share/bash-completion/completions/synthcore
_synthcore() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command=${{COMP_WORDS[1]}}
  local words='' values='' alone=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{" ".join(models)} --help --version' -- "$current"))
    return
  fi
  case "$command:$previous" in
{chr(10).join(values)}
  esac
  if [ "$values" = - ]; then
    compopt -o default 2>/dev/null
    return
  elif [ -n "$values" ]; then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
    return
  fi
  case "$command" in
{chr(10).join(names)}
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$words --help" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$alone" -- "$current")); [ -n "$alone" ] || compopt -o default 2>/dev/null ;;
  esac
}}
complete -F _synthcore synthcore
"""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _summary(flag: Flag) -> str:
    """A description in one line, without zsh's special characters."""
    text = " ".join((flag.field.description or "").split()).partition(". ")[0].rstrip(".")
    return text.translate(str.maketrans("[]:\\", "()--"))


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0].rstrip(".").replace(":", " -")


def _zsh(models: Mapping[str, type[BaseModel]]) -> str:
    commands = "\n".join(f"    {_quoted(f'{name}:{_first_line(model)}')}" for name, model in models.items())
    cases = []
    for command, model in models.items():
        specs = [_quoted(_zsh_spec(flag, name)) for flag in _flags_of(model) for name in _names(flag)]
        alone = f"'*:what:({_alone(model)})'" if _alone(model) else "'*:file:_files'"
        cases.append(f"    {command}) _arguments -s {' '.join([*specs, alone])} ;;")
    return f"""#compdef synthcore
# synthcore completion zsh: put it into a folder of $fpath, as in
#   synthcore completion zsh > ~/.zfunc/_synthcore
_synthcore() {{
  local -a commands
  commands=(
{commands}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
{chr(10).join(cases)}
  esac
}}
if [ "$funcstack[1]" = _synthcore ]; then _synthcore "$@"; else compdef _synthcore synthcore; fi
"""


def _zsh_spec(flag: Flag, name: str) -> str:
    again = "*" if flag.is_list else ""
    if flag.is_switch:
        return f"{name}[{_summary(flag)}]"
    values = f"({' '.join(flag.choices)})" if flag.choices else "_files" if flag.metavar in PATHS else ""
    return f"{again}{name}[{_summary(flag)}]:{flag.metavar.replace(':', ' ')}:{values}"


def _fish(models: Mapping[str, type[BaseModel]]) -> str:
    lines = [
        "# synthcore completion fish: put it where fish finds it, as in",
        "#   synthcore completion fish > ~/.config/fish/completions/synthcore.fish",
        "complete -c synthcore -e",
    ]
    for command, model in models.items():
        seen = f"-n '__fish_seen_subcommand_from {command}'"
        about = _quoted(_first_line(model))
        lines.append(f"complete -c synthcore -n __fish_use_subcommand -f -a {command} -d {about}")
        if _alone(model):
            lines.append(f"complete -c synthcore {seen} -f -a '{_alone(model)}'")
        for flag in _flags_of(model):
            short = f" -s {flag.short[1:]}" if flag.short else ""
            takes = "" if flag.is_switch else f" -x -a '{' '.join(flag.choices)}'" if flag.choices else " -r"
            long = _names(flag)[-1].removeprefix("--")
            lines.append(f"complete -c synthcore {seen}{short} -l {long}{takes} -d {_quoted(_summary(flag))}")
    return "\n".join(lines) + "\n"
