"""A put block adds our settings to `.pants.rc` and changes no other; removal restores its bytes."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pants_config.odd_toml import CASES, WANTED, odd_files
from reapi_local_plugin.pants_config.global_table import global_options
from reapi_local_plugin.pants_config.pants_rc import plan_put, plan_removal
from reapi_local_plugin.pants_config.rc_block import BEGIN, END


def parsed(text: str | None) -> dict[str, Any]:
    return tomllib.loads((text or "").removeprefix("\ufeff"))


def up(text: str | None, **wanted: bool | str | int) -> str:
    plan = plan_put(text, wanted or WANTED)
    assert plan.refusal is None
    assert plan.text is not None
    return plan.text


def down(text: str | None) -> str | None:
    plan = plan_removal(text)
    assert plan.refusal is None
    return plan.text


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("name", CASES)
def test_odd_files_are_extended_and_restored(name: str, mark: str) -> None:
    text = mark + CASES[name]
    expected = parsed(text)
    expected.setdefault("GLOBAL", {}).update(WANTED)

    changed = up(text)

    assert parsed(changed) == expected
    assert up(changed) == changed
    assert down(changed) == text


@settings(max_examples=400)
@given(odd_files(), st.one_of(st.booleans(), st.integers(), st.text("/a\"'\\ \n\u00fc")))
def test_any_file_keeps_its_settings_and_gets_its_bytes_back(
    text: str, value: bool | int | str
) -> None:
    wanted = {**WANTED, "process_execution_remote_parallelism": value}
    before = parsed(text)
    expected = {**before, "GLOBAL": {**wanted, **before.get("GLOBAL", {})}}

    plan = plan_put(text, wanted)

    assert plan.refusal is None
    assert plan.text is not None
    assert parsed(plan.text) == expected
    assert set(plan.kept) == before.get("GLOBAL", {}).keys() & wanted.keys()
    assert plan_put(plan.text, wanted).text == plan.text
    assert plan_put(plan_put(text, WANTED).text, wanted).text == plan.text
    assert plan_removal(plan.text).text == text


def edit_by_hand(text: str, place: str) -> str:
    """The text after a user's edit at one of several places around or in the block."""
    newline = "\r\n" if "\r\n" in text[text.rindex(END) :] else "\n"
    own = f"own = 'x'{newline}"
    if place == "a changed setting":
        return text.replace("\nremote_cache_write = true", "\nremote_cache_write = false", 1)
    if place == "end":
        return text + ("" if text.endswith("\n") else newline) + f"[own]{newline}{own}# mine"
    at = {
        "top": len(text) - len(text.removeprefix("\ufeff")),
        "inside the block": text.rindex(END),
        "below the block": text.index(newline, text.rindex(END)) + len(newline),
    }[place]
    return text[:at] + own + text[at:]


PLACES = ["top", "inside the block", "below the block", "end", "a changed setting"]


@settings(max_examples=400)
@given(odd_files(), st.sampled_from(PLACES))
def test_what_the_user_changes_in_between_survives(text: str, place: str) -> None:
    edited = edit_by_hand(up(text), place)
    expected = parsed(edited)
    theirs = parsed(text).get("GLOBAL", {})
    ours = {key: WANTED[key] for key in WANTED if key not in theirs}
    if place == "a changed setting":
        del ours["remote_cache_write"]
    for key in ours:
        del expected["GLOBAL"][key]
    if not expected["GLOBAL"] and "GLOBAL" not in parsed(text):
        del expected["GLOBAL"]

    restored = down(edited)

    assert parsed(restored) == expected
    again = up(edited)
    assert {**ours, **expected.get("GLOBAL", {})}.items() <= parsed(again)["GLOBAL"].items()
    assert down(again) == restored


def test_a_file_that_was_not_there_is_gone_again() -> None:
    changed = up(None)

    assert parsed(changed) == {"GLOBAL": WANTED}
    assert down(up(changed, remote_cache_read=True)) is None
    assert down(changed + "\n\n") is None
    assert down(changed + "# mine\n") == "# mine\n"


def test_who_made_the_file_is_remembered_over_another_up() -> None:
    changed = up(up(None) + "[own]\n", remote_execution=True)

    assert down(changed.replace("[own]\n", "")) is None


def test_an_empty_file_stays() -> None:
    assert down(up("")) == ""


def test_down_without_a_block_changes_nothing() -> None:
    assert down(None) is None
    assert down("[GLOBAL]\nremote_cache_read = true") == "[GLOBAL]\nremote_cache_read = true"


def test_the_block_says_who_wrote_it_and_how_it_goes_away() -> None:
    changed = up("[GLOBAL]\na = 1\n")

    assert changed.startswith(f"[GLOBAL]\n{BEGIN} written by `pants reapi-up`, removed by")
    assert "`pants reapi-down`" in changed
    assert changed.endswith("a = 1\n")


def test_a_setting_of_the_user_is_kept_and_reported() -> None:
    text = "[GLOBAL]\n'remote_cache_read' = false # slow disk\n"

    plan = plan_put(text, WANTED)

    assert plan.kept == {"remote_cache_read": "false"}
    assert plan.written == ("remote_cache_write = true",)
    assert parsed(plan.text)["GLOBAL"] == {"remote_cache_read": False, "remote_cache_write": True}


def test_nothing_is_written_when_the_user_has_set_everything() -> None:
    text = "[GLOBAL]\nremote_cache_read = true\nremote_cache_write = false"

    plan = plan_put(text, WANTED)

    assert (plan.text, plan.written) == (text, ())
    assert plan.kept == {"remote_cache_read": "true", "remote_cache_write": "false"}


def test_a_setting_the_user_makes_later_replaces_ours_at_the_next_up() -> None:
    changed = up("[GLOBAL]\n") + "remote_cache_read = false\n"

    plan = plan_put(changed, WANTED)

    assert plan.kept == {"remote_cache_read": "false"}
    assert parsed(plan.text)["GLOBAL"] == {"remote_cache_read": False, "remote_cache_write": True}


def test_other_settings_replace_the_block_where_it_stands() -> None:
    changed = up("[a]\nx = 1\n") + "[b]\ny = 2\n"

    other = up(changed, remote_execution=True, remote_instance_name='a "b"\\\x7f')

    assert list(parsed(other)) == ["a", "GLOBAL", "b"]
    assert parsed(other)["GLOBAL"] == {
        "remote_execution": True,
        "remote_instance_name": 'a "b"\\\x7f',
    }
    assert up(other) == changed


def test_a_block_moved_below_other_settings_stays_there() -> None:
    block = up("[GLOBAL]\n").removeprefix("[GLOBAL]\n")
    moved = "[GLOBAL]\na = 1\n# about the next\n" + block + "b = 2\n"

    assert up(moved) == moved
    assert down(moved) == "[GLOBAL]\na = 1\n# about the next\nb = 2\n"


def test_a_block_whose_header_was_deleted_goes_back_into_global() -> None:
    for text in ("[python]\na = 1\n", "[GLOBAL]\n[python]\na = 1\n"):
        block = up("[GLOBAL]\n").removeprefix("[GLOBAL]\n")
        astray = text + block + "b = 2\n"

        assert parsed(up(astray)) == {"GLOBAL": WANTED, "python": {"a": 1, "b": 2}}
        assert down(astray) == text + "b = 2\n"


def test_what_is_no_longer_wanted_is_removed_and_reported() -> None:
    executing = up("[a]\nx = 1\n", remote_cache_read=True, remote_execution=True, slots=2)

    plan = plan_put(executing, {"remote_cache_read": True, "slots": 3})

    assert plan.written == ("[GLOBAL]", "remote_cache_read = true", "slots = 3")
    assert plan.added == ("slots = 3",)
    assert plan.removed == ("remote_execution = true", "slots = 2")
    assert parsed(plan.text)["GLOBAL"] == {"remote_cache_read": True, "slots": 3}


def test_our_header_stays_for_settings_the_user_put_below_it() -> None:
    changed = up("[a]\nx = 1") + "pants_version = '2.17.1'\n"

    plan = plan_removal(changed)

    assert plan.text == "[a]\nx = 1\n[GLOBAL]\npants_version = '2.17.1'\n"
    assert "[GLOBAL]" not in plan.removed
    assert parsed(up(changed))["GLOBAL"] == {**WANTED, "pants_version": "2.17.1"}


def test_lines_the_user_put_inside_the_block_are_left_and_reported() -> None:
    changed = up(None).replace(
        "remote_cache_write = true\n",
        "remote_cache_write = false\n\n# why not\nnote = '''\nremote_cache_read = true\n'''\n",
    )

    plan = plan_removal(changed)

    assert plan.text == (
        "[GLOBAL]\nremote_cache_write = false\n\n# why not\n"
        "note = '''\nremote_cache_read = true\n'''\n"
    )
    assert plan.removed == ("remote_cache_read = true",)
    assert plan.left[:2] == ("remote_cache_write = false", "# why not")


def test_a_block_turned_to_other_line_ends_is_still_removed() -> None:
    assert down(up("[a]\nx = 1\n").replace("\n", "\r\n")) == "[a]\r\nx = 1\r\n"
    assert down(up("[a]\r\nx = 1").replace("\r\n", "\n")) == "[a]\nx = 1"


def test_a_line_break_cut_from_the_end_does_not_matter() -> None:
    assert down(up("[a]\nx = 1").removesuffix("\n")) == "[a]\nx = 1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("GLOBAL.pants_version = '2'\n", "line 1 sets GLOBAL without a [GLOBAL] header"),
        ("\nGLOBAL = {pants_version = '2'}\n", "line 2 sets GLOBAL without a [GLOBAL] header"),
        ("[GLOBAL]\n\n['GLOBAL']\n", "lines 1 and 3 both begin [GLOBAL]"),
        ("[[GLOBAL]]\n", "line 1 begins [[GLOBAL]]"),
        ("a = 1\nb = \n", "line 2: expected a value"),
        ("# \udcff\n", "line 1: the character '\\udcff' is not allowed"),
    ],
)
def test_what_cannot_be_extended_is_refused_with_the_lines_to_paste(text: str, says: str) -> None:
    plan = plan_put(text, WANTED)

    assert plan.text == text
    assert plan.refusal is not None
    assert says in plan.refusal
    assert plan.paste == ("[GLOBAL]", "remote_cache_read = true", "remote_cache_write = true")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace(BEGIN, "#"),
        lambda text: text.replace(END, "#"),
        lambda text: text.replace('"wrote"', '"wr0te"'),
        lambda text: text[: text.rindex("}")] + "\n",
        lambda text: text + text,
    ],
    ids=["no begin", "no end", "changed record", "cut record", "twice"],
)
def test_a_damaged_block_is_refused_and_told_how_to_repair(damage: Any) -> None:
    text = damage(up("[a]\nx = 1\n"))

    for plan in (plan_put(text, WANTED), plan_removal(text)):
        assert plan.text == text
        assert plan.refusal is not None
        assert "Delete" in plan.refusal
        assert "try again" in plan.refusal


def test_down_refuses_what_the_user_broke_with_the_line() -> None:
    text = up("") + "oops\n"

    plan = plan_removal(text)

    assert plan.text == text
    assert plan.refusal is not None
    assert plan.refusal.startswith("line 8: expected `=`")


def test_a_setting_that_is_no_option_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="not the name"):
        plan_put("", {"a.b": True})


def test_global_options_are_read_however_they_are_written() -> None:
    text = (
        "GLOBAL.a = true\n[GLOBAL]\nb = 'x'\nc.add = ['y']\nn = 3\n"
        "[GLOBAL.d]\nremove = ['z']\n[[many]]\n[other]\na = false\n"
    )

    assert global_options(text) == {
        "a": True,
        "b": "x",
        "c": {"add": ["y"]},
        "n": 3,
        "d": {"remove": ["z"]},
    }
    assert global_options("GLOBAL = {remote_cache_read = true}") == {"remote_cache_read": True}
    assert global_options("") == {}


def test_a_block_of_a_release_without_advice_is_replaced_and_removed() -> None:
    old = "\n".join(
        (
            f"{BEGIN} written by `pants reapi-up`",
            "[GLOBAL]",
            "remote_cache_read = true",
            f'{END} {{"wrote": ["[GLOBAL]", "remote_cache_read = true"], "added": ["file"]}}',
            "",
        )
    )

    assert down(old) is None
    assert up(old) == up(None)


def test_a_comment_of_the_user_in_the_block_stays() -> None:
    changed = up(None).replace("[GLOBAL]\n", "[GLOBAL]\n# mine\n")

    plan = plan_removal(changed)

    assert plan.text == "# mine\n"
    assert plan.left == ("# mine",)
    assert plan.removed == ("[GLOBAL]", "remote_cache_read = true", "remote_cache_write = true")
