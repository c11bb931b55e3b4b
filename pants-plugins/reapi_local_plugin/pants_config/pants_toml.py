"""The two settings of `pants.toml` that make Pants load the plugin: its directory, its backend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reapi_local_plugin.pants_config.edit import Plan, UnsafeEditError, edit_file
from reapi_local_plugin.pants_config.global_table import HEADER, find_global, line_break
from reapi_local_plugin.pants_config.toml_document import (
    Document,
    TomlError,
    TomlTable,
    Value,
    line_end,
    line_of,
    line_start,
)
from reapi_local_plugin.pants_config.toml_scan import scan


@dataclass(frozen=True)
class _Needed:
    """An element that a list option of [GLOBAL] must have, and the `line` that sets it alone."""

    option: str
    element: str
    line: str


_NEEDED = (
    _Needed(
        "pythonpath",
        "%(buildroot)s/pants-plugins",
        'pythonpath = ["%(buildroot)s/pants-plugins"]',
    ),
    _Needed(
        "backend_packages",
        "reapi_local_plugin",
        'backend_packages.add = ["reapi_local_plugin"]',
    ),
)


def init(path: Path) -> Plan:
    """Make a `pants.toml` load the plugin, unless it does already. Raises EditError."""
    return edit_file(path, lambda text: plan_init(text or ""))


def plan_init(text: str) -> Plan:
    """The text in which `pythonpath` and `backend_packages` name the plugin.

    Lists keep their layout. If one of the two options cannot be extended, neither is. `written` has
    the lines that are new or changed.
    """
    new = text
    missing: list[str] = []
    problems: list[str] = []
    for needed in _NEEDED:
        try:
            changed = _with_element(new, needed)
        except (UnsafeEditError, TomlError) as problem:
            missing.append(needed.line)
            problems.append(str(problem))
            continue
        if changed != new:
            missing.append(needed.line)
            new = changed
    if problems:
        reasons = "; ".join(dict.fromkeys(problems))
        refusal = f"{reasons}. Change that and try again, or put this in yourself."
        return Plan(text, refusal=refusal, paste=(HEADER, *missing))
    before = set(text.splitlines())
    return Plan(new, written=tuple(line for line in new.splitlines() if line not in before))


@dataclass(frozen=True)
class _Form:
    """One way in which the option is set: `option` (`edit` is ""), `option.add`, `option.remove`.

    `is_line`: it is a line of [GLOBAL], and not in an inline table or a table of its own.
    """

    edit: str
    start: int
    value: Value
    is_line: bool


def _with_element(text: str, needed: _Needed) -> str:
    """The text in which the option has the element. Raises UnsafeEditError and TomlError."""
    document = scan(text)
    table = find_global(document)
    forms = {form.edit: form for form in _forms(document, table, needed.option)}
    for form in forms.values():
        _check(text, form, needed)
    given = forms.get("") or forms.get("add")
    if given is None:
        removal = forms.get("remove")
        if removal and not removal.is_line:
            raise _unsure(text, removal.start, needed.option)
        line = f'{needed.option}.add = ["{needed.element}"]' if removal else needed.line
        return _insert_line(document, table, line)
    if _has(given.value, needed.element):
        return text
    if given.value.kind == "string":  # Pants reads it as one element, added to the list
        source = text[given.value.start : given.value.end]
        both = f"{needed.option}.add = [{source}, {_quoted(source, needed.element)}]"
        return text[: given.start] + both + text[given.value.end :]
    return _insert_element(text, given.value, needed.element)


def _forms(document: Document, table: TomlTable | None, option: str) -> list[_Form]:
    """All forms of the option in the file. Raises UnsafeEditError if Pants would refuse one."""
    found: list[_Form] = []
    for pair in table.pairs if table else ():
        if pair.key == (option,) and pair.value.kind == "table":
            inner = pair.value.pairs
            found += [_Form(".".join(p.key), p.start, p.value, is_line=False) for p in inner]
        elif pair.key[0] == option:
            found.append(_Form(".".join(pair.key[1:]), pair.start, pair.value, is_line=True))
    for other in document.tables:
        if other.path[:2] == ("GLOBAL", option):
            if other.is_array or len(other.path) > 2:
                raise _unsure(document.text, other.start, option)
            inner = other.pairs
            found += [_Form(".".join(p.key), p.start, p.value, is_line=False) for p in inner]
    edits = [form.edit for form in found]
    if len(set(edits)) < len(edits) or ("" in edits and len(edits) > 1):
        raise _unsure(document.text, found[-1].start, option)
    return found


def _check(text: str, form: _Form, needed: _Needed) -> None:
    """Raises UnsafeEditError for a form that cannot be extended, or that removes the element."""
    value = form.value
    is_list = value.kind == "array" and all(item.kind == "string" for item in value.items)
    # For Pants, a string that begins with one of these is a list in Python syntax.
    is_one = form.edit == "" and isinstance(value.data, str) and value.data[:1] not in "[(+-"
    if form.edit not in ("", "add", "remove") or not (
        is_list or (is_one and value.kind == "string")
    ):
        raise _unsure(text, form.start, needed.option)
    if form.edit == "remove" and _has(value, needed.element):
        line = line_of(text, form.start)
        raise UnsafeEditError(f'line {line} removes "{needed.element}" from {needed.option}')


def _unsure(text: str, offset: int, option: str) -> UnsafeEditError:
    line = line_of(text, offset)
    return UnsafeEditError(
        f"line {line} sets {option} in a way that cannot be extended safely; "
        "write it as a list of strings"
    )


def _has(value: Value, element: str) -> bool:
    data = value.data if isinstance(value.data, list) else [value.data]
    return any(isinstance(item, str) and item.rstrip("/") == element for item in data)


def _insert_line(document: Document, table: TomlTable | None, line: str) -> str:
    """The text with a line below the last one of [GLOBAL]; a new [GLOBAL] goes to the end."""
    text = document.text
    if table is None:
        at = len(text)
        header = [HEADER] if at == document.tables[0].start else ["", HEADER]
    else:
        at = line_end(text, table.pairs[-1].value.end) if table.pairs else table.body
        header = []
    newline = line_break(text, at)
    starts_line = at == document.tables[0].start or text[at - 1] == "\n"
    lines = "".join(part + newline for part in (*header, line))
    return text[:at] + ("" if starts_line else newline) + lines + text[at:]


def _insert_element(text: str, array: Value, element: str) -> str:
    """The text with an element at the end of an array, laid out like the element before it."""
    if not array.items:
        return _insert_first(text, array, element)
    last = array.items[-1]
    new = _quoted(text[last.start : last.end], element)
    indent = text[line_start(text, last.start) : last.start]
    # The new element follows the last one and its comma. If the last one has a line of its own, so
    # does the new one.
    after, before_new, after_new = last.end, ",", ""
    if array.comma is not None:
        after, before_new, after_new = array.comma, "", ","
    if indent.strip():
        return f"{text[:after]}{before_new} {new}{after_new}{text[after:]}"
    rest = text[after : line_end(text, after)].rstrip("\r\n")
    if rest.strip() and not rest.lstrip().startswith("#"):
        rest = ""  # more of the array is in this line
    at = after + len(rest)
    own_line = f"{line_break(text, at)}{indent}{new}{after_new}"
    return f"{text[:after]}{before_new}{rest}{own_line}{text[at:]}"


def _insert_first(text: str, array: Value, element: str) -> str:
    close = array.end - 1
    line = line_start(text, close)
    if line <= array.start:
        return f'{text[:close]}"{element}"{text[close:]}'
    # The closing bracket has a line of its own, perhaps below comments.
    indent = text[line:close]
    return f'{text[:line]}{indent}    "{element}",{line_break(text, line)}{text[line:]}'


def _quoted(like: str, element: str) -> str:
    return f"{like[0]}{element}{like[0]}"
