"""Names of operations: made, taken apart, and refused."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reapi_local.errors import InvalidRequest
from reapi_local.protocol.instance import RESERVED_SEGMENTS, check_instance_name
from reapi_local.protocol.operation_name import (
    instance_of_collection,
    instance_of_operation,
    operation_name,
)

segments = st.text(
    st.characters(categories=["L", "N", "P"], exclude_characters="/"), min_size=1, max_size=12
).filter(lambda text: text not in RESERVED_SEGMENTS)
instances = st.lists(segments, max_size=4).map("/".join)
identifiers = st.uuids().map(str)


@given(instances, identifiers)
def test_the_instance_of_a_name_is_the_one_it_was_made_for(instance: str, identifier: str) -> None:
    assert check_instance_name(instance) == instance, "one that a server has"
    assert instance_of_operation(operation_name(instance, identifier)) == instance


@given(instances, instances, identifiers, identifiers)
def test_names_differ_by_instance_and_by_identifier(
    one: str, other: str, first: str, second: str
) -> None:
    is_same = (one, first) == (other, second)
    assert (operation_name(one, first) == operation_name(other, second)) is is_same


@pytest.mark.parametrize(
    ("instance", "name"),
    [("", "operations/1"), ("main", "main/operations/1"), ("a/b/c", "a/b/c/operations/1")],
)
def test_a_name_has_the_form_that_clients_see(instance: str, name: str) -> None:
    assert operation_name(instance, "1") == name
    assert instance_of_operation(name) == instance


@pytest.mark.parametrize(
    "name", ["", "/", "x", "operations", "a/b", "a/operations", "a/operations/1/2", "operations/1/"]
)
def test_a_name_that_no_operation_can_have_is_of_no_instance(name: str) -> None:
    assert instance_of_operation(name) == ""


@given(st.text(max_size=40))
def test_any_text_has_an_instance_and_none_raises(name: str) -> None:
    instance = instance_of_operation(name)
    assert instance == "" or name.startswith(f"{instance}/operations/")


@given(instances)
def test_a_collection_is_of_the_instance_before_it(instance: str) -> None:
    name = f"{instance}/operations" if instance else "operations"
    assert instance_of_collection(name) == instance
    assert instance_of_collection(instance) == (instance or None)


def test_no_name_is_the_collection_of_all_instances() -> None:
    assert instance_of_collection("") is None


@pytest.mark.parametrize(
    "name", ["/", "operations/", "operations/1", f"a/operations/{uuid.UUID(int=0)}", "a//b", "a/"]
)
def test_what_is_no_collection_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidRequest, match="isn't a list of operations; ask for …/operations"):
        instance_of_collection(name)


def test_a_refusal_of_a_huge_name_is_short() -> None:
    with pytest.raises(InvalidRequest) as refused:
        instance_of_collection("x" * 100_000)
    assert len(str(refused.value)) < 500
