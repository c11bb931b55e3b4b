"""The scanner reads a text as the standard library does, and knows the place of every part."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pants_config.odd_toml import CASES, odd_files
from reapi_local_plugin.pants_config.toml_document import Document, TomlError, put
from reapi_local_plugin.pants_config.toml_lex import quote
from reapi_local_plugin.pants_config.toml_scan import scan

_TOKENS = st.sampled_from(
    [
        *"[]{}=.,#'\"\\ \n\r\ta1-+_é\x00",
        *('"""', "'''", "\r\n", "[[", "]]", "a = ", "[a]\n", "true", "inf"),
        *("\\n", "\\u0041", "\\U0010ffff", "\\ud800", "1e5", "0x_1", "01", "1_0", "1."),
    ]
)


def as_data(document: Document) -> dict[str, Any]:
    """The data of a document without arrays of tables."""
    root: dict[str, Any] = {}
    for table in document.tables:
        into = root
        for part in table.path:
            into = into.setdefault(part, {})
        for pair in table.pairs:
            assert put(into, pair.key, pair.value.data)
    return root


def parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text, parse_float=float)


@pytest.mark.parametrize(
    "value",
    [
        *("true", "'a\\'", '"\\t\\u0041\\\\"', '"""\na\\\n  b"c"""', "''''a'''"),
        *("[]", "[1, [2,],]", "{}", "{a.b = 1, c = {d = ''}}"),
        *("0b10", "0o17", "-0", "+1_0", "6.5E-2", "1e0_2", "0.1_2"),
    ],
)
def test_reads_a_value_as_the_standard_library_does(value: str) -> None:
    text = f"key = {value}"

    (pair,) = scan(text).tables[0].pairs

    assert pair.value.data == parsed(text)["key"]
    assert text[pair.value.start : pair.value.end] == value


@settings(max_examples=1500)
@given(st.lists(_TOKENS, max_size=14).map("".join))
def test_any_text_is_read_like_the_standard_library_or_refused(text: str) -> None:
    try:
        document = scan(text)
    except TomlError:
        with pytest.raises(tomllib.TOMLDecodeError):
            tomllib.loads(text)
        return
    try:
        data = parsed(text)
    except tomllib.TOMLDecodeError:
        return  # a key or table is there twice; only the code that extends a table checks that
    if not any(table.is_array for table in document.tables):
        assert repr(as_data(document)).replace("\\r\\n", "\\n") == repr(data)


@given(odd_files())
def test_spans_cover_the_text_without_gaps(text: str) -> None:
    document = scan(text)

    assert document.tables[-1].end == len(text)
    for before, after in zip(document.tables, document.tables[1:], strict=False):
        assert before.end == after.start <= after.body <= after.end
    for table in document.tables:
        for pair in table.pairs:
            assert table.body <= pair.start < pair.value.start < pair.value.end <= table.end
            alone = f"key = {text[pair.value.start : pair.value.end]}"
            assert scan(alone).tables[0].pairs[0].value.data == pair.value.data
    for start, end in document.comments:
        assert text[start] == "#"
        assert text[end : end + 1] in ("", "\r", "\n")


def test_knows_where_items_and_commas_of_an_array_are() -> None:
    text = "a = [ # first\r\n  'x', # ,\r\n  \"y\" # ]\r\n  , # last\r\n]\r\n"

    value = scan(text).tables[0].pairs[0].value

    assert [text[item.start : item.end] for item in value.items] == ["'x'", '"y"']
    assert value.comma == text.rindex(", # last") + 1
    assert text[value.end - 1 : value.end] == "]"


def test_knows_headers_with_quotes_dots_and_double_brackets() -> None:
    document = scan('[ a . "b.c" ] # x\n[[d]]\n')

    assert [(table.path, table.is_array) for table in document.tables] == [
        ((), False),
        (("a", "b.c"), False),
        (("d",), True),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb = what\n", 2),
        ("[a\n", 1),
        ("a = 1 b = 2\n", 1),
        ('\n\na = "open\n', 3),
        ('a = """open\n\n', 1),
        ("a = [1\n\n2]", 3),
        ("a = {b = 1,}", 1),
        ("a = {b = 1, b = 2}", 1),
        ("a = 1\rb = 2", 1),
        ("a = 1\n# \x00\n", 2),
        ('a = "\\q"', 1),
        ('a = "\\ud800"', 1),
        ("\n= 1", 2),
        ("a = " + "[" * 100_000, 1),
    ],
)
def test_refuses_with_the_number_of_the_line(text: str, line: int) -> None:
    with pytest.raises(TomlError, match=f"^line {line}: ") as refusal:
        scan(text)

    assert refusal.value.line == line


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"arrays of tables", "numbers and dates"}))
def test_reads_odd_files_as_the_standard_library_does(name: str) -> None:
    assert as_data(scan(CASES[name])) == parsed(CASES[name])


@pytest.mark.parametrize(
    "date", ["1979-05-27", "1979-05-27 07:32:00.5Z", "1979-05-27T07:32:00-07:00", "07:32:00"]
)
def test_reads_a_date_as_it_is_written(date: str) -> None:
    value = scan(f"a = {date} # noted").tables[0].pairs[0].value

    assert (value.kind, value.data) == ("date", date)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_text_says_that_text(text: str) -> None:
    assert tomllib.loads(f"a = {quote(text)}") == {"a": text}
    assert scan(f"a = {quote(text)}").tables[0].pairs[0].value.data == text
