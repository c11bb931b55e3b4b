"""Why a process ran, from what is known of it, of earlier ones, and of the cache."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explain.trees import Trees
from reapi_local.explain.process import Definition, Origin, Process
from reapi_local.explain.recurring import recurring
from reapi_local.explain.root_causes import Makers, grouped, roots
from reapi_local.explain.verdict import CacheFacts, Verdict, why
from reapi_local.protocol.lookup import MissReason

TREES = Trees()
ROOT = TREES.make({"src/a.py": "a", "src/b.py": "b"})
DEFINITION = Definition(
    arguments=("/usr/bin/python3.9", "-m", "pytest", "--tb", "short"),
    environment={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
    input_root=ROOT,
    output_files=("report.xml",),
    platform={"os": "linux"},
    caches={"pex_root": ".cache/pex"},
    timeout_ms=60_000,
)
BEFORE = Process(
    "1",
    "Run Pytest for //src:tests",
    DEFINITION,
    Origin(run="run-1", instance="shop", machine="laptop", tool="pants 2.17.1", started_at=1.0),
    milliseconds=5000,
)
LATER = Origin(run="run-2", instance="shop", machine="laptop", tool="pants 2.17.1", started_at=2.0)
ABSENT = CacheFacts(MissReason.ABSENT)


def causes_of(process: Process, *earlier: Process, facts: CacheFacts = ABSENT) -> list[str]:
    return [str(cause) for cause in why(process, earlier, facts, TREES.load).causes]


def now(**changes: object) -> Process:
    """The process in the next run, with another definition."""
    return replace(
        BEFORE,
        name="2",
        definition=replace(DEFINITION, **changes),  # type: ignore[arg-type]
        origin=LATER,
    )


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"input_root": TREES.make({"src/a.py": "x", "src/b.py": "b"})}, "src/a.py changed"),
        (
            {"input_root": TREES.make({"src/a.py": "a", "src/c.py": "b"})},
            "src/b.py is now src/c.py",
        ),
        (
            {"environment": {**DEFINITION.environment, "BUILD_ID": "7"}},
            "the variable BUILD_ID 7 is new",
        ),
        ({"environment": {"PATH": "/usr/bin:/bin"}}, "the variable LANG C.UTF-8 is gone"),
        (
            {"environment": {**DEFINITION.environment, "PATH": "/opt/bin:/usr/bin:/bin"}},
            "PATH has /opt/bin first",
        ),
        (
            {"environment": {**DEFINITION.environment, "PATH": "/bin:/usr/bin"}},
            "PATH has its directories in another order",
        ),
        (
            {"arguments": ("/usr/bin/python3.11", *DEFINITION.arguments[1:])},
            "the program is /usr/bin/python3.11, and was /usr/bin/python3.9",
        ),
        (
            {"arguments": (*DEFINITION.arguments[:-1], "long")},
            "the argument is long, and was short",
        ),
        ({"arguments": (*DEFINITION.arguments, "-v")}, "the argument -v is new"),
        ({"timeout_ms": 0}, "its timeout is none, and was 60 s"),
        ({"platform": {"os": "macos"}}, "the platform property os is macos, and was linux"),
        ({"output_files": ("r.xml",)}, "the output r.xml is new"),
        ({"working_directory": "src"}, "its working directory is src, and was empty"),
        ({"caches": {}}, "the named cache pex_root .cache/pex is gone"),
        (
            {"is_remote": True},
            "it runs on the server now, and before it ran on the client's machine",
        ),
        (
            {"environment": {**DEFINITION.environment, "PANTS_CACHE_KEY_SALT": "1"}},
            "the cache's salt changed",
        ),
    ],
)
def test_what_differs_is_the_cause(changes: dict[str, object], cause: str) -> None:
    assert cause in causes_of(now(**changes), BEFORE)


def test_two_causes_at_once_are_both_named() -> None:
    root = TREES.make({"src/a.py": "x", "src/b.py": "b"})
    assert causes_of(now(input_root=root, timeout_ms=1000), BEFORE) == [
        "its timeout is 1 s, and was 60 s",
        "src/a.py changed",
    ]


def test_values_that_are_secret_are_not_shown() -> None:
    before = replace(
        BEFORE, definition=replace(DEFINITION, environment={"TOKEN": "<secret 0123456789abcdef>"})
    )
    found = causes_of(now(environment={"TOKEN": "<secret 123456789abcdef0>"}), before)
    assert found == ["the variable TOKEN changed; its values are secret"]


def test_a_process_that_was_never_seen_is_called_new() -> None:
    other = replace(BEFORE, description="Lint", definition=Definition(("/bin/lint",)))
    assert causes_of(now(), other) == ["it was never seen before"]


@pytest.mark.parametrize(
    ("before", "facts", "cause"),
    [
        (replace(BEFORE, exit_code=1), ABSENT, "it failed before, and failures are not cached"),
        (
            BEFORE,
            CacheFacts(MissReason.ABSENT, written_at=1.5),
            "its cache entry is gone: it was evicted, or the store was purged",
        ),
        (
            replace(BEFORE, ran=False),
            ABSENT,
            "its cache entry is gone: it was evicted, or the store was purged",
        ),
        (
            BEFORE,
            CacheFacts(MissReason.INCOMPLETE, ("ab/3",)),
            "its cache entry was incomplete: blob ab/3 was missing",
        ),
        (BEFORE, CacheFacts(MissReason.CORRUPT), "its cache entry was damaged and was removed"),
        (
            BEFORE,
            CacheFacts(was_hit=True),
            "the cache had it, but it ended here before that answer came",
        ),
        (BEFORE, ABSENT, "it ran before, but its result was not written"),
        (
            replace(BEFORE, origin=replace(BEFORE.origin, writes=False)),
            ABSENT,
            "it ran before, but its result was not written: writing was switched off",
        ),
        (
            replace(BEFORE, origin=replace(BEFORE.origin, instance="other")),
            ABSENT,
            "its result is in another instance, other",
        ),
    ],
)
def test_if_nothing_differs_the_cache_is_the_cause(
    before: Process, facts: CacheFacts, cause: str
) -> None:
    assert causes_of(now(), before, facts=facts) == [cause]


def test_what_was_never_looked_up_is_explained_by_that() -> None:
    scoped = replace(now(), scope="PerRestartSuccessful")
    [cause] = causes_of(scoped, BEFORE)
    assert cause == "Pants never asks for it, because its cache scope is PerRestartSuccessful"
    off = replace(now(), origin=replace(LATER, reads=False))
    assert causes_of(off, BEFORE) == ["reading the remote cache was switched off"]


def test_it_is_compared_with_the_one_that_differs_least() -> None:
    far = replace(
        BEFORE,
        name="far",
        definition=replace(DEFINITION, arguments=("/bin/x",), timeout_ms=1, platform={}),
        origin=replace(BEFORE.origin, started_at=1.5),
    )
    verdict = why(now(timeout_ms=0), [far, BEFORE], ABSENT, TREES.load)
    assert verdict.earlier is BEFORE


def test_without_a_description_the_shape_of_the_command_finds_the_earlier_one() -> None:
    before = replace(
        BEFORE, description="", definition=Definition(("cc", "a.c"), output_files=("a.o",))
    )
    other = replace(before, definition=Definition(("cc", "b.c"), output_files=("b.o",)))
    process = replace(
        now(), description="", definition=Definition(("cc", "-O2", "a.c"), output_files=("a.o",))
    )
    verdict = why(process, [other, before], ABSENT, TREES.load)
    assert verdict.earlier is before
    assert [str(cause) for cause in verdict.causes] == ["the argument -O2 is new"]


def test_the_text_for_a_shell_is_an_argument() -> None:
    before = replace(BEFORE, definition=Definition(("/bin/sh", "-c", "/bin/cat a")))
    process = replace(now(), definition=Definition(("/bin/sh", "-c", "/bin/cat b")))
    assert causes_of(process, before) == ["the argument is /bin/cat b, and was /bin/cat a"]


def with_files(name: str, milliseconds: int, *changed: tuple[str, str]) -> Verdict:
    """A process whose files changed, each with its new content."""
    before, after = ({path: "" for path, _ in changed}, dict(changed))
    process = replace(
        now(input_root=TREES.make(after)),
        name=name,
        description=name,
        milliseconds=milliseconds,
    )
    old = replace(process, definition=replace(DEFINITION, input_root=TREES.make(before)))
    return why(process, [old], ABSENT, TREES.load)


def digest_of_file(verdict: Verdict, path: str) -> str:
    [cause] = [cause for cause in verdict.causes if cause.name == path]
    assert cause.after is not None
    return cause.after


def test_misses_are_grouped_by_what_caused_all_of_them() -> None:
    source = ("src/a.py", "new")
    compiled = with_files("compile", 2000, source)
    tests = [with_files(f"test {n}", 30_000, source, ("lib.zip", "made")) for n in range(2)]
    lint = with_files("lint", 500, ("lint.toml", "new"))
    makers = Makers({digest_of_file(tests[0], "lib.zip"): [("compile", "lib.zip")]})
    groups = grouped([lint, compiled, *tests], makers)
    assert [
        ([str(cause) for cause in group.causes], len(group.verdicts), group.milliseconds)
        for group in groups
    ] == [(["src/a.py changed"], 3, 62_000), (["lint.toml changed"], 1, 500)]


def test_all_of_a_made_directory_follows_from_what_made_it() -> None:
    """Two archives with an equal file, each made by a process of its own."""
    tool = with_files("tool", 1, ("tool.txt", "new"))
    archive = with_files("archive", 1, ("pins.txt", "new"))
    before = {"x.pex/old.whl": "w", "x.pex/__main__.py": "", "x.pex_pex_shim.sh": ""}
    after = {"x.pex/new.whl": "n", "x.pex/__main__.py": "main", "x.pex_pex_shim.sh": "1"}
    last = replace(now(input_root=TREES.make(after)), name="test")
    old = replace(last, definition=replace(DEFINITION, input_root=TREES.make(before)))
    test = why(last, [old], ABSENT, TREES.load)
    main, wheel = digest_of_file(test, "x.pex/__main__.py"), digest_of_file(test, "x.pex/new.whl")
    files = {main: [("archive", "x.pex"), ("tool", "y.pex"), ("test", "z")]}
    makers = Makers(
        {**files, wheel: [("archive", "x.pex")]}, {"archive": ["x.pex"], "tool": ["y.pex"]}
    )
    by_name = {one.process.name: one for one in (tool, archive, test)}
    assert [str(cause) for cause in roots(test, by_name, makers)] == ["pins.txt changed"]


def test_a_file_that_a_process_leaves_as_it_is_was_not_made_by_it() -> None:
    black, isort = (with_files(name, 1, ("a.py", "new")) for name in ("black", "isort"))
    made = digest_of_file(black, "a.py")
    makers = Makers({made: [("black", "a.py"), ("isort", "a.py")]})
    [group] = grouped([black, isort], makers)
    assert [str(cause) for cause in group.causes] == ["a.py changed"]


def test_what_a_new_process_made_is_explained_by_that_process() -> None:
    maker = why(replace(now(), name="extract", description="Extract it"), [], ABSENT, TREES.load)
    test = with_files("test", 1, ("lib.zip", "made"))
    makers = Makers({digest_of_file(test, "lib.zip"): [("extract", "lib.zip")]})
    causes = roots(test, {"extract": maker, "test": test}, makers)
    assert [str(cause) for cause in causes] == ["“Extract it” was never seen before"]


def test_what_differs_in_each_run_is_named_as_such() -> None:
    history = []
    for n in range(4):
        before = now(environment={"BUILD_ID": str(n)})
        after = now(environment={"BUILD_ID": str(n + 1)}, timeout_ms=60_000 + (n == 3))
        history.append(why(after, [before], ABSENT, TREES.load))
    [found] = recurring(history[::-1])
    assert found.cause.name == "BUILD_ID"
    assert found.runs == 4
    assert "extra_env_vars" in found.remedy
    assert not recurring(history[:2])
