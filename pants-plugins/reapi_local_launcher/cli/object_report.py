"""Objects of the store as text: actions, commands, trees, results, and what differs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Sequence

from reapi_contract import inspection
from reapi_contract.inspection import (
    Change,
    CommandFields,
    Described,
    Differences,
    Entry,
    FileChange,
    Listing,
    ResultFields,
    Totals,
)
from reapi_contract.printable import printable
from reapi_contract.sizes import format_size
from reapi_local_launcher.cli.terminal import WIDTH, Style, Write, fields, notes
from reapi_local_launcher.server.objects import lost_note

_SIZE_WIDTH = 10


def quote(text: str) -> str:
    """A word for a shell; line breaks and tabs within it stay."""
    return shlex.quote(printable(text, "\n\t"))


def described_text(shown: Described, write: Write, style: Style) -> None:
    """One object; for an action all that is known of it."""
    write(f"{style.strong(shown.kind)} {shown.digest}\n")
    rows = _rows(shown)
    if rows:
        fields(rows, write)
    if shown.command is not None:
        _command(shown.command, write, style)
    if shown.result is not None:
        _result(shown.result, write, style)
    elif shown.kind == inspection.ACTION:
        write("\nNo result is cached.\n")
    if shown.kind == inspection.FILE:
        what = "text" if shown.text else "no text"
        write(f"It is {what}. `reapi-local show --content` prints it.\n")
    if shown.lost:
        write("\n")
        notes([lost_note(shown.lost)], write, style)


def _rows(shown: Described) -> list[tuple[str, str]]:
    found = []
    action = shown.action
    if shown.instances:
        found.append(("instance", ", ".join(printable(name) or '""' for name in shown.instances)))
    if action is not None:
        found += [("command", action.command), ("inputs", action.input_root)]
    if shown.totals is not None:
        found.append(("" if action else "holds", _totals(shown.totals)))
    if action is not None:
        found.append(("timeout", f"{action.timeout_s:g} s" if action.timeout_s else "none given"))
        if action.do_not_cache:
            found.append(("cache", "its result must not be cached"))
        if action.salt:
            found.append(("salt", printable(action.salt)))
    if shown.command is not None:
        found += [("platform", printable(value)) for value in shown.command.platform]
    return found


def _totals(totals: Totals) -> str:
    parts = [
        f"{_many(totals.files, 'file', 'files')} with {format_size(totals.size_bytes)}",
        _many(totals.directories, "directory", "directories"),
    ]
    if totals.symlinks:
        parts.append(_many(totals.symlinks, "symlink", "symlinks"))
    return ", ".join(parts)


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _command(command: CommandFields, write: Write, style: Style) -> None:
    write("\n" + style.strong("arguments") + "\n")
    if command.working_directory:
        write(f"  cd {quote(command.working_directory)}\n")
    for line in shell_lines(command.arguments):
        write(f"  {line}\n")
    if command.environment:
        write("\n" + style.strong("environment") + "\n")
        for variable in command.environment:
            name, _, value = variable.partition("=")
            write(f"  {printable(name)}={quote(value)}\n")
    if command.outputs:
        write("\n" + style.strong("declared outputs") + "\n")
        for path in command.outputs:
            write(f"  {quote(path)}\n")


def shell_lines(arguments: Sequence[str]) -> list[str]:
    """The arguments as a command of a shell, in lines of at most 78 columns where that can be."""
    lines: list[str] = []
    for word in map(quote, arguments):
        if lines and len(lines[-1]) + len(word) + 1 <= WIDTH - 4:
            lines[-1] += f" {word}"
        elif lines:
            lines[-1] += " \\"
            lines.append(f"  {word}")
        else:
            lines.append(word)
    return lines


def _result(result: ResultFields, write: Write, style: Style) -> None:
    write("\n" + style.strong("result") + "\n")
    code = str(result.exit_code)
    rows = [("exit", style.good(code) if result.exit_code == 0 else style.bad(code))]
    if result.written_at:
        by = f" by {printable(result.written_by)}" if result.written_by else ""
        rows.append(("written", f"{_moment(result.written_at)}{by}"))
    if result.invocation:
        rows.append(("run", printable(result.invocation)))
    times = [
        f"{what} {seconds:.3g} s"
        for what, seconds in (
            ("inputs", result.fetched_s),
            ("process", result.executed_s),
            ("outputs", result.uploaded_s),
        )
        if seconds
    ]
    if times:
        rows.append(("took", ", ".join(times)))
    if result.worker:
        rows.append(("worker", printable(result.worker)))
    rows += [
        (name, "empty" if digest.endswith("/0") else digest)
        for name, digest in (("stdout", result.stdout), ("stderr", result.stderr))
        if digest
    ]
    fields(rows, write)
    if result.outputs:
        write("\n" + style.strong("outputs") + "\n")
        _outputs(result.outputs, write)
    if result.more:
        write(f"  … and {result.more:,} more\n")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _outputs(entries: Iterable[Entry], write: Write) -> None:
    """Files with their sizes; directories with the digest that `tree` takes."""
    for entry in entries:
        is_file = entry.kind == inspection.FILE
        size = format_size(entry.size_bytes) if is_file else ""
        write(f"  {size:>{_SIZE_WIDTH}}  {_named(entry, entry.path)}\n")
        if entry.kind == inspection.DIRECTORY:
            write(f"  {entry.digest}\n")


def _named(entry: Entry, name: str) -> str:
    name = printable(name)
    if entry.kind == inspection.LINK:
        return f"{name} -> {printable(entry.target)}"
    if entry.kind == inspection.LOST:
        return f"{name}/ (the store doesn't have this directory)"
    if entry.kind == inspection.DIRECTORY:
        return f"{name}/"
    return f"{name}*" if entry.executable else name


def listing_text(listing: Listing, write: Write, *, digests: bool) -> None:
    """A tree, indented; or with digests one line for each file, with its whole path."""
    for entry in listing.entries:
        if digests:
            write(f"{entry.digest or '-'}  {_named(entry, entry.path)}\n")
            continue
        level, _, name = entry.path.rpartition("/")
        indent = "  " * (level.count("/") + 1 if level else 0)
        size = format_size(entry.size_bytes) if entry.kind == inspection.FILE else ""
        write(f"{size:>{_SIZE_WIDTH}}  {indent}{_named(entry, name)}\n")
    if listing.more:
        write("There is more: name a path, or raise --limit.\n")
    elif not listing.entries:
        write("The directory is empty.\n")


def differences_text(found: Differences, write: Write, style: Style) -> None:
    """What `a` has after a minus, and what `b` has in its place after a plus."""
    write(f"{style.bad('-')} {found.a}\n{style.good('+')} {found.b}\n")
    if found.arguments:
        write("\n" + style.strong("arguments") + "\n")
        for change in found.arguments:
            _sides(map(quote, change.a), map(quote, change.b), write, style)
    for title, changes in (
        ("environment", found.environment),
        ("platform", found.platform),
        ("other fields", found.fields),
    ):
        if changes:
            write("\n" + style.strong(title) + "\n")
            for pair in changes:
                _sides(_side(pair, pair.a), _side(pair, pair.b), write, style)
    if found.files:
        write("\n" + style.strong("files") + "\n")
        for file in found.files:
            _file(file, write, style)
    if found.more:
        write("  … and more\n")
    if found.equal:
        write("They are equal.\n")
    elif found.lost:
        write("\n")
        notes([f"Not all could be compared. {lost_note(found.lost)}"], write, style)


def _side(change: Change, value: str | None) -> list[str]:
    return [] if value is None else [f"{printable(change.name)}={quote(value)}"]


def _sides(a: Iterable[str], b: Iterable[str], write: Write, style: Style) -> None:
    for mark, lines in ((style.bad("-"), a), (style.good("+"), b)):
        for line in lines:
            write(f"  {mark} {line}\n")


def _file(change: FileChange, write: Write, style: Style) -> None:
    a, b = change.a, change.b
    if a is None or b is None:
        mark = style.good("+") if a is None else style.bad("-")
        entry = b or a
        write(f"  {mark} {_named(entry, change.path) if entry else printable(change.path)}\n")
        return
    write(f"  {style.strong('~')} {_named(b, change.path)}{_how(a, b)}\n")


def _how(a: Entry, b: Entry) -> str:
    """In which way a file differs that both have."""
    if a.kind != b.kind:
        return f" (was a {a.kind})"
    if a.kind == inspection.LINK:
        return f" (was -> {printable(a.target)})"
    parts = []
    if a.size_bytes != b.size_bytes:
        parts.append(f"{format_size(a.size_bytes)} -> {format_size(b.size_bytes)}")
    elif a.digest != b.digest:
        parts.append("other content")
    if a.executable != b.executable:
        parts.append("now executable" if b.executable else "no longer executable")
    return f" ({', '.join(parts)})"
