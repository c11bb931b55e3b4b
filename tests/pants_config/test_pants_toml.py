"""After an edit `pants.toml` names the plugin, and its layout is as before."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pants_config.odd_toml import odd_files
from reapi_local_plugin.pants_config.pants_toml import plan_init

PATH = "%(buildroot)s/pants-plugins"
BACKEND = "reapi_local_plugin"
BOTH = f'pythonpath = ["{PATH}"]\nbackend_packages.add = ["{BACKEND}"]\n'


def init(text: str) -> str:
    plan = plan_init(text)
    assert plan.refusal is None
    assert plan.text is not None
    assert plan_init(plan.text).text == plan.text
    return plan.text


def backends(layout: str) -> str:
    """The layout of backend_packages after the edit, in a file with nothing else to change."""
    head = f'[GLOBAL]\npythonpath = ["{PATH}"]\n'
    return init(head + layout).removeprefix(head)


def elements(text: str, option: str) -> list[Any]:
    given = tomllib.loads(text.removeprefix("\ufeff"))["GLOBAL"][option]
    return list(given["add"] if isinstance(given, dict) else given)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"[GLOBAL]\n{BOTH}"),
        ("# mine", f"# mine\n\n[GLOBAL]\n{BOTH}"),
        ("[GLOBAL]", f"[GLOBAL]\n{BOTH}"),
        (
            "[GLOBAL]\npants_version = '2.17.1' # pinned\n# end\n\n[a]\nx = 1",
            f"[GLOBAL]\npants_version = '2.17.1' # pinned\n{BOTH}# end\n\n[a]\nx = 1",
        ),
        ("[a]\r\nx = 1", "[a]\r\nx = 1\r\n\r\n[GLOBAL]\r\n" + BOTH.replace("\n", "\r\n")),
    ],
)
def test_options_not_there_are_added_below_the_last_of_global(before: str, after: str) -> None:
    assert init(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("backend_packages = []\n", f'backend_packages = ["{BACKEND}"]\n'),
        ("backend_packages = ['a']\n", f"backend_packages = ['a', '{BACKEND}']\n"),
        ('backend_packages = ["a",] # c', f'backend_packages = ["a", "{BACKEND}",] # c'),
        ('backend_packages.add=["a"]\n', f'backend_packages.add=["a", "{BACKEND}"]\n'),
        (
            "backend_packages = {add = ['a'], remove = ['b']}\n",
            f"backend_packages = {{add = ['a', '{BACKEND}'], remove = ['b']}}\n",
        ),
        (
            "backend_packages = [\n  'a', # first\n  'b', # last\n  # 'c',\n]\n",
            f"backend_packages = [\n  'a', # first\n  'b', # last\n  '{BACKEND}',\n  # 'c',\n]\n",
        ),
        (
            "backend_packages = [\r\n\t'a',\r\n\t'b' # ]\r\n]\r\n",
            f"backend_packages = [\r\n\t'a',\r\n\t'b', # ]\r\n\t'{BACKEND}'\r\n]\r\n",
        ),
        (
            'backend_packages = ["a",\n                    "b"]\n',
            f'backend_packages = ["a",\n                    "b",\n{" " * 20}"{BACKEND}"]\n',
        ),
        (
            "backend_packages = [\n  'a'\n  , 'b'\n  , ]\n",
            f"backend_packages = [\n  'a'\n  , 'b'\n  , '{BACKEND}',  ]\n".replace(",  ]", ", ]"),
        ),
        (
            "backend_packages = [\n    'a', 'b',\n]\n",
            f"backend_packages = [\n    'a', 'b', '{BACKEND}',\n]\n",
        ),
        (
            "backend_packages = [\n  # none yet\n]\n",
            f'backend_packages = [\n  # none yet\n    "{BACKEND}",\n]\n',
        ),
        (
            "backend_packages.remove = ['x']\n",
            f'backend_packages.remove = ["x"]\nbackend_packages.add = ["{BACKEND}"]\n'.replace(
                '"x"', "'x'"
            ),
        ),
        (
            "[GLOBAL.backend_packages]\nadd = ['a']",
            f"[GLOBAL.backend_packages]\nadd = ['a', '{BACKEND}']",
        ),
    ],
)
def test_a_list_is_extended_in_its_own_layout(before: str, after: str) -> None:
    assert backends(before) == after
    assert BACKEND in elements(f"[GLOBAL]\n{after}", "backend_packages")


def test_a_single_string_becomes_an_addition_as_pants_understands_it() -> None:
    text = init(f"[GLOBAL]\nbackend_packages = ['{BACKEND}']\npythonpath = 'src' # ours\n")

    assert text.endswith(f"pythonpath.add = ['src', '{PATH}'] # ours\n")


@pytest.mark.parametrize(
    "text",
    [
        f"[GLOBAL]\npythonpath = '{PATH}/'\nbackend_packages = {{add = ['{BACKEND}']}}\n",
        f"[GLOBAL]\npythonpath.add = ['{PATH}']\nbackend_packages = [\n  '{BACKEND}' ]",
    ],
)
def test_what_is_there_is_left_alone(text: str) -> None:
    plan = plan_init(text)

    assert (plan.text, plan.written) == (text, ())


def test_new_and_changed_lines_are_reported() -> None:
    plan = plan_init("[GLOBAL]\nbackend_packages = ['a']\n")

    assert plan.written == (
        f"backend_packages = ['a', '{BACKEND}']",
        f'pythonpath = ["{PATH}"]',
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("GLOBAL.pants_version = '2'", "line 1 sets GLOBAL without a [GLOBAL] header"),
        ("[GLOBAL]\na = ]", "line 2: expected a value"),
        ("[GLOBAL]\npythonpath = \"+['a']\"", "line 2 sets pythonpath in a way"),
        ("[GLOBAL]\npythonpath = ['a', 1]", "line 2 sets pythonpath in a way"),
        ("[GLOBAL]\npythonpath = ''", "line 2 sets pythonpath in a way"),
        ("[GLOBAL]\n\npythonpath.add = 'x'", "line 3 sets pythonpath in a way"),
        ("[GLOBAL]\npythonpath.ad = ['x']", "line 2 sets pythonpath in a way"),
        ("[GLOBAL]\npythonpath = ['a']\npythonpath.add = ['b']", "line 3 sets pythonpath in a way"),
        ("[GLOBAL]\npythonpath = {remove = ['a']}", "line 2 sets pythonpath in a way"),
        ("[[GLOBAL.pythonpath]]\nadd = []", "line 1 sets pythonpath in a way"),
        (f"[GLOBAL]\npythonpath.remove = ['{PATH}']", f'line 2 removes "{PATH}" from pythonpath'),
    ],
)
def test_what_is_unclear_is_refused_with_the_lines_to_paste(text: str, says: str) -> None:
    plan = plan_init(text)

    assert plan.text == text
    assert plan.refusal is not None
    assert plan.refusal.startswith(says)
    assert "\n".join(plan.paste) + "\n" == f"[GLOBAL]\n{BOTH}"


def test_only_lines_still_missing_are_given_to_paste() -> None:
    plan = plan_init(f"[GLOBAL]\npythonpath = ''\nbackend_packages = ['{BACKEND}']")

    assert plan.paste == ("[GLOBAL]", f'pythonpath = ["{PATH}"]')


@settings(max_examples=300)
@given(odd_files())
def test_any_file_keeps_its_other_settings(text: str) -> None:
    before = tomllib.loads(text.removeprefix("\ufeff"))

    after = tomllib.loads(init(text).removeprefix("\ufeff"))

    options = after["GLOBAL"]
    assert options.pop("pythonpath") == [PATH]
    assert options.pop("backend_packages") == {"add": [BACKEND]}
    assert after == {"GLOBAL": {}, **before}


_GAPS = st.sampled_from(["", " ", "\n", "\n  ", " # ] ,\n", "\r\n\t"])


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(["'a'", '"b # c"', "'''d'''", '"]"']), max_size=4),
    st.booleans(),
    st.data(),
)
def test_any_list_is_extended_by_one_at_its_end(
    items: list[str], comma: bool, data: st.DataObject
) -> None:
    source = "["
    for number, item in enumerate(items):
        is_last = number == len(items) - 1
        source += (
            data.draw(_GAPS) + item + data.draw(_GAPS) + ("" if is_last and not comma else ",")
        )
    text = (
        f"[GLOBAL]\npythonpath = ['{PATH}']\nbackend_packages = {source}{data.draw(_GAPS)}] # end"
    )
    before = elements(text, "backend_packages")

    after = init(text)

    assert elements(after, "backend_packages") == [*before, BACKEND]
    assert after.endswith("] # end")
