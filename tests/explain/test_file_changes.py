"""Which files differ between two input roots."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from explain.trees import Trees
from reapi_local.explain.causes import Kind
from reapi_local.explain.file_changes import file_changes

BEFORE = {
    "src/a.py": "a",
    "src/b.py": "b",
    "src/run.sh": "run",
    "src/latest": "-> a.py",
    "old.py": "the same content",
    "kept/deep/c.py": "c",
}


def sentences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    trees = Trees()
    found = file_changes(trees.make(before), trees.make(after), trees.load)
    assert found.is_complete
    return [str(cause) for cause in found.causes]


def test_each_kind_of_change_is_named_with_its_path() -> None:
    after = BEFORE | {
        "src/a.py": "other",
        "src/run.sh": "+x run",
        "src/latest": "-> b.py",
        "new.py": "the same content",
        "added/d.py": "d",
    }
    del after["src/b.py"], after["old.py"]
    assert sorted(sentences(BEFORE, after)) == [
        "added/d.py is new",
        "old.py is now new.py",
        "src/a.py changed",
        "src/b.py is gone",
        "src/run.sh is now executable",
        "the link src/latest leads to b.py, and led to a.py",
    ]


def test_a_directory_that_nobody_has_any_more_is_said_to_be_unknown() -> None:
    trees = Trees()
    before = trees.make(BEFORE)
    after = trees.make(BEFORE | {"kept/deep/c.py": "other", "src/a.py": "other"})
    trees.forget(trees.make({"c.py": "c"}))
    found = [str(cause) for cause in file_changes(before, after, trees.load).causes]
    assert found == [
        "src/a.py changed",
        "files in kept/deep/ differ, but the server doesn't have what it needs to name them",
    ]


def test_only_what_leads_to_a_difference_is_read() -> None:
    trees, read = Trees(), []
    before = trees.make({f"{n}/{m}.py": "" for n in range(50) for m in range(3)})
    after = trees.make({f"{n}/{m}.py": "" for n in range(50) for m in range(3)} | {"7/1.py": "x"})
    file_changes(before, after, lambda digest: (read.append(digest), trees.load(digest))[1])
    assert len(read) == 4


def test_a_great_many_changes_are_cut_off_and_that_is_said() -> None:
    trees = Trees()
    before = trees.make({})
    after = trees.make({f"{n}/file": str(n) for n in range(1500)})
    found = file_changes(before, after, trees.load)
    assert not found.is_complete
    assert len(found.causes) == 1000


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
ROOTS = st.dictionaries(PATHS, st.sampled_from(["1", "2", "+x 1", "-> 1"]), max_size=6)


@given(ROOTS, ROOTS)
def test_it_names_just_what_differs(before: dict[str, str], after: dict[str, str]) -> None:
    before, after = _without_files_in_the_way(before), _without_files_in_the_way(after)
    trees = Trees()
    causes = file_changes(trees.make(before), trees.make(after), trees.load).causes
    named = {cause.name for cause in causes}
    named |= {cause.before or "" for cause in causes if cause.kind is Kind.FILE_RENAMED}
    assert named == {path for path in {*before, *after} if before.get(path) != after.get(path)}


def _without_files_in_the_way(files: dict[str, str]) -> dict[str, str]:
    """A path can't be a file and a directory."""
    return {
        path: content
        for path, content in files.items()
        if not any(other.startswith(path + "/") for other in files)
    }
