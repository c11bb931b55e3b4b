"""The definitions agree with ``reapi_wire.tsv``, which was compiled independently of them.

One row a field, enum value, reserved range or method of Remote Execution v2, Remote Asset v1,
SemVer and ByteStream. Numbers of reserved ranges are inclusive; a map field has no row for its
entry message.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

from reapi_local.proto import (
    bytestream_pb2,
    remote_asset_pb2,
    remote_execution_pb2,
    semver_pb2,
)

TABLE = Path(__file__).with_name("reapi_wire.tsv")
MODULES = {
    "build.bazel.remote.asset.v1": remote_asset_pb2,
    "build.bazel.remote.execution.v2": remote_execution_pb2,
    "build.bazel.semver": semver_pb2,
    "google.bytestream": bytestream_pb2,
}
STREAMING = {
    (False, False): "",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "client_stream server_stream",
}


class Row(NamedTuple):
    """A line of the table; a column without meaning for the kind of row is empty."""

    package: str
    kind: str
    parent: str
    name: str
    number: str
    type: str
    label: str


def table_rows(package: str) -> list[Row]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t")
        assert tuple(next(lines)) == Row._fields
        return [row for row in map(Row._make, lines) if row.package == package]


def file_proto(package: str) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    MODULES[package].DESCRIPTOR.CopyToProto(proto)
    return proto


def messages(proto: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    """All messages with their names inside the package, nested ones included."""
    pending = [(message.name, message) for message in proto.message_type]
    while pending:
        name, message = pending.pop()
        yield name, message
        pending.extend((f"{name}.{nested.name}", nested) for nested in message.nested_type)


def described_rows(package: str) -> Iterator[Row]:
    proto = file_proto(package)
    for name, message in messages(proto):
        if message.options.map_entry:
            continue
        entries = {
            f".{package}.{name}.{nested.name}": nested
            for nested in message.nested_type
            if nested.options.map_entry
        }
        for field in message.field:
            entry = entries.get(field.type_name)
            yield field_row(package, name, field, entry, message)
        for reserved in message.reserved_range:
            numbers = f"{reserved.start}-{reserved.end - 1}"
            yield Row(package, "reserved", name, "", numbers, "", "")
        for enum in message.enum_type:
            yield from enum_rows(package, f"{name}.{enum.name}", enum)
    for enum in proto.enum_type:
        yield from enum_rows(package, enum.name, enum)
    for service in proto.service:
        yield from rpc_rows(package, service)


def field_row(
    package: str,
    parent: str,
    field: FieldDescriptorProto,
    entry: DescriptorProto | None,
    message: DescriptorProto,
) -> Row:
    if entry is not None:
        key, value = entry.field
        kind, label = f"map<{type_name(key)},{type_name(value)}>", "map"
    elif field.label == FieldDescriptorProto.LABEL_REPEATED:
        kind, label = type_name(field), "repeated"
    elif field.HasField("oneof_index"):
        kind, label = type_name(field), f"oneof {message.oneof_decl[field.oneof_index].name}"
    else:
        kind, label = type_name(field), "singular"
    if field.options.deprecated:
        label += " deprecated"
    return Row(package, "field", parent, field.name, str(field.number), kind, label)


def type_name(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return field.type_name.removeprefix(".")
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def enum_rows(package: str, parent: str, enum: EnumDescriptorProto) -> Iterator[Row]:
    for value in enum.value:
        yield Row(package, "enum", parent, value.name, str(value.number), "", "")


def rpc_rows(package: str, service: ServiceDescriptorProto) -> Iterator[Row]:
    for method in service.method:
        types = f"{method.input_type.removeprefix('.')} -> {method.output_type.removeprefix('.')}"
        streaming = STREAMING[method.client_streaming, method.server_streaming]
        yield Row(package, "rpc", service.name, method.name, "", types, streaming)


@pytest.mark.parametrize("package", MODULES)
def test_every_row_is_defined_and_every_definition_has_a_row(package: str) -> None:
    expected = Counter(table_rows(package))
    actual = Counter(described_rows(package))
    assert expected
    assert {"missing": expected - actual, "extra": actual - expected} == {
        "missing": Counter(),
        "extra": Counter(),
    }


@pytest.mark.parametrize("package", MODULES)
def test_no_message_exists_that_the_table_does_not_mention(package: str) -> None:
    """Messages without fields have no row of their own; methods name those that exist."""
    mentioned: set[str] = set()
    for row in table_rows(package):
        mentioned.update((row.parent, row.parent.rpartition(".")[0]))
        mentioned.update(name.removeprefix(f"{package}.") for name in row.type.split(" -> "))
    defined = {
        name for name, message in messages(file_proto(package)) if not message.options.map_entry
    }
    assert defined <= mentioned


def test_the_table_holds_no_package_that_nothing_defines() -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        packages = {line["package"] for line in csv.DictReader(file, delimiter="\t")}
    assert packages == set(MODULES)


@pytest.mark.parametrize("package", MODULES)
def test_the_definitions_declare_the_official_package(package: str) -> None:
    assert MODULES[package].DESCRIPTOR.package == package
