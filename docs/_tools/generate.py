"""Write the pages that are made from the code: settings, error codes, commands. `make docs` runs it.

With `--check` nothing is written: it names the pages that are not as the code is, and ends with 1 if there are any.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from tokensvc.cli import main as program
from tokensvc.config import reference
from tokensvc.web import error_pages

FOLDER = Path(__file__).resolve().parents[1]

_COMMANDS_HEAD = """\
# Commands

Every command with all of its options. `--help` after any of them says the same. Exit status: 0 yes, 1 refused, 2 wrong
usage or configuration, 3 the store does not answer; where a command has others it says so. Made from the code by
`make docs`.

"""


def pages() -> dict[str, str]:
    """Each page by its path below docs/."""
    wholes = {
        "commands.md": commands(),
        "configuration.md": reference.whole_page(),
        "errors.md": error_pages.whole_page(),
    }
    return wholes | {f"errors/{code}.md": error_pages.page_of(code) for code in error_pages.PAGES}


def commands() -> str:
    """The commands of the program, in the order of their names."""
    return _COMMANDS_HEAD + "\n".join(_sections(program, click.Context(program, info_name="tokensvc")))


def _sections(command: click.Command, context: click.Context) -> list[str]:
    """A command's section, then those of its own commands. Those that are not listed by --help are left out."""
    found = [_section(command, context)]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            part = command.get_command(context, name)
            if part is not None and not part.hidden:
                found += _sections(part, click.Context(part, info_name=name, parent=context))
    return found


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    parts = [f"## {context.command_path}\n", f"```text\n{usage}\n```\n", f"{text}\n"]
    if rows := [row for option in command.params if (row := _row(option, context))]:
        parts.append("\n".join(["| option | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _row(option: click.Parameter, context: click.Context) -> str:
    record = option.get_help_record(context)
    if record is None:
        return ""
    names, text = (part.replace("|", "\\|") for part in record)
    return f"| `{names}` | {' '.join(text.split())} |"


def main(arguments: list[str]) -> int:
    """Write the pages, or say which of them are old; the exit status."""
    made = pages()
    old = [name for name, text in made.items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text]
    left = [f"errors/{path.name}" for path in (FOLDER / "errors").glob("*.md") if f"errors/{path.name}" not in made]
    if "--check" in arguments:
        sys.stdout.write("".join(f"docs/{name}: run `make docs`\n" for name in old + left))
        return 1 if old + left else 0
    (FOLDER / "errors").mkdir(exist_ok=True)
    for name in old:
        (FOLDER / name).write_text(made[name])
    for name in left:
        (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
