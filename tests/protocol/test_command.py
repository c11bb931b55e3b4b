"""Actions and commands from the wire: what is understood, and what is refused."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from reapi_local.errors import InvalidRequest
from reapi_local.proto import remote_execution_pb2 as re_pb2
from reapi_local.protocol.command import (
    Output,
    OutputKind,
    ParsedCommand,
    parse_action,
    parse_command,
)
from reapi_local.protocol.digest import Digest, DigestFunction, digest_of

NO_PLATFORM = re_pb2.Platform()
OUTSIDE = ["/", "/a", "..", "../a", "a/../..", "./../a", "a\0", "//"]


def message(digest: Digest) -> re_pb2.Digest:
    return re_pb2.Digest(hash=digest.hash_hex, size_bytes=digest.size_bytes)


def action(**fields: object) -> re_pb2.Action:
    digests = {
        "command_digest": message(digest_of(b"command")),
        "input_root_digest": message(digest_of(b"root")),
    }
    return re_pb2.Action(**{**digests, **fields})  # type: ignore[arg-type]


def command(**fields: object) -> re_pb2.Command:
    return re_pb2.Command(**{"arguments": ["true"], **fields})  # type: ignore[arg-type]


def parsed(message: re_pb2.Command, platform: re_pb2.Platform = NO_PLATFORM) -> ParsedCommand:
    return parse_command(message.SerializeToString(), platform)


def refused(message: re_pb2.Command, match: str) -> None:
    with pytest.raises(InvalidRequest, match=match):
        parsed(message)


def variable(name: str, value: str) -> re_pb2.Command.EnvironmentVariable:
    return re_pb2.Command.EnvironmentVariable(name=name, value=value)


def platform(**properties: str) -> re_pb2.Platform:
    entries = [re_pb2.Platform.Property(name=n, value=v) for n, v in properties.items()]
    return re_pb2.Platform(properties=entries)


@pytest.mark.parametrize("function", DigestFunction)
def test_an_action_names_its_command_and_its_input_root(function: DigestFunction) -> None:
    digests = digest_of(b"c", function), digest_of(b"r", function)
    sent = re_pb2.Action(
        command_digest=message(digests[0]),
        input_root_digest=message(digests[1]),
        do_not_cache=True,
        platform=platform(os="linux"),
    )
    got = parse_action(sent.SerializeToString(), function)
    assert (got.command, got.input_root) == digests
    assert (got.do_not_cache, got.timeout) == (True, None)
    assert got.platform == platform(os="linux")


@pytest.mark.parametrize("field", ["command_digest", "input_root_digest"])
def test_an_action_without_one_of_its_digests_is_refused(field: str) -> None:
    for missing in (None, re_pb2.Digest(), re_pb2.Digest(hash="abc", size_bytes=3)):
        data = action(**{field: missing}).SerializeToString()
        with pytest.raises(InvalidRequest, match=field if missing is None else "digest"):
            parse_action(data, DigestFunction.SHA256)


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        (None, None),
        (Duration(), None),
        (Duration(seconds=90), 90.0),
        (Duration(nanos=500_000_000), 0.5),
        (Duration(seconds=3, nanos=250_000_000), 3.25),
    ],
)
def test_a_timeout_is_in_seconds_and_none_at_all_when_it_is_zero(
    timeout: Duration | None, seconds: float | None
) -> None:
    data = action(timeout=timeout).SerializeToString()
    assert parse_action(data, DigestFunction.SHA256).timeout == seconds


@pytest.mark.parametrize("timeout", [Duration(seconds=-1), Duration(nanos=-1)])
def test_a_negative_timeout_is_refused(timeout: Duration) -> None:
    with pytest.raises(InvalidRequest, match="timeout"):
        parse_action(action(timeout=timeout).SerializeToString(), DigestFunction.SHA256)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_action_and_a_command_or_refused(data: bytes) -> None:
    for parse in (
        lambda: parse_action(data, DigestFunction.SHA256),
        lambda: parse_command(data, NO_PLATFORM),
    ):
        try:
            parse()
        except InvalidRequest:
            continue


@given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.text(max_size=8), max_size=4))
def test_every_command_is_parsed_to_safe_paths_or_refused(
    paths: list[str], arguments: list[str]
) -> None:
    sent = re_pb2.Command(
        arguments=arguments, output_paths=paths, working_directory="".join(paths[:1])
    )
    try:
        got = parsed(sent)
    except InvalidRequest:
        return
    assert list(got.arguments) == arguments
    assert [output.path for output in got.outputs] == paths
    for path in (got.working_directory, *(output.place for output in got.outputs)):
        assert not {"..", "."} & set(path.split("/"))
        assert "\0" not in path
        assert not path.startswith("/")


def test_a_command_keeps_arguments_and_variables_as_they_are() -> None:
    got = parsed(
        command(
            arguments=["./a b", "", "ä\n"],
            environment_variables=[variable("A", "1=2"), variable("B", "")],
            working_directory="w/d",
        )
    )
    assert got.arguments == ("./a b", "", "ä\n")
    assert got.environment == {"A": "1=2", "B": ""}
    assert got.working_directory == "w/d"
    assert got.outputs == ()


@pytest.mark.parametrize("arguments", [[], [""], ["", "x"]])
def test_a_command_without_a_program_is_refused(arguments: list[str]) -> None:
    refused(command(arguments=arguments), "no program")


def test_nul_characters_are_refused_wherever_they_stand() -> None:
    refused(command(arguments=["a", "b\0"]), "NUL")
    refused(command(environment_variables=[variable("A", "\0")]), "'A' can't be set")
    refused(command(environment_variables=[variable("A\0", "")]), "can't be set")
    refused(command(working_directory="a\0"), "working directory")
    refused(command(output_paths=["a\0"]), "output path")


@pytest.mark.parametrize("name", ["", "=", "A=B"])
def test_a_variable_that_no_process_could_have_is_refused(name: str) -> None:
    refused(command(environment_variables=[variable(name, "x")]), "environment variable")


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_working_directory_outside_of_the_input_root_is_refused(path: str) -> None:
    refused(command(working_directory=path), "the working directory can't be used")


@pytest.mark.parametrize(
    ("spelt", "directory"),
    [("", ""), (".", ""), ("./", ""), ("a/..", ""), ("a/", "a"), ("./a//b/./", "a/b")],
)
def test_a_working_directory_may_be_spelt_in_any_way(spelt: str, directory: str) -> None:
    assert parsed(command(working_directory=spelt)).working_directory == directory


@pytest.mark.parametrize("field", ["output_paths", "output_files", "output_directories"])
def test_an_output_outside_of_the_input_root_is_refused(field: str) -> None:
    for path in OUTSIDE:
        refused(command(**{field: [path]}), "output path")
    for path in ("../../a", "../.."):
        refused(command(working_directory="w", **{field: [path]}), "output path .* leads out")


@pytest.mark.parametrize("field", ["output_paths", "output_files", "output_directories"])
@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a", "w/d/a"),
        ("./a", "w/d/a"),
        ("a/", "w/d/a"),
        ("a//b", "w/d/a/b"),
        ("../a", "w/a"),
        ("../../a", "a"),
        ("x/../../a", "w/a"),
    ],
)
def test_an_output_keeps_its_spelling_and_has_a_place_in_the_input_root(
    field: str, path: str, place: str
) -> None:
    (output,) = parsed(command(working_directory="w/./d", **{field: [path]})).outputs
    assert (output.path, output.place) == (path, place)


def test_outputs_can_be_moved_below_another_directory() -> None:
    got = parsed(command(output_paths=["a", "b/../c"])).with_outputs_below("w")
    assert [(output.path, output.place) for output in got.outputs] == [
        ("a", "w/a"),
        ("b/../c", "w/c"),
    ]


@pytest.mark.parametrize("path", ["x" * 256, "ä" * 128, "/".join(["x" * 200] * 21)])
def test_a_path_that_no_file_system_takes_is_refused(path: str) -> None:
    refused(command(output_paths=[path]), "longer than")
    refused(command(working_directory=path), "working directory")


def test_a_path_has_no_more_levels_than_can_be_collected() -> None:
    assert parsed(command(output_paths=["x/" * 199 + "x"])).outputs
    assert parsed(command(output_paths=["x/" * 999 + "../" * 999])).outputs
    refused(command(output_paths=["x/" * 200 + "x"]), "over 200 levels")
    refused(command(output_paths=["x/" * 150], working_directory="x/" * 51), "over 200 levels")
    refused(command(working_directory="x/" * 1900), "over 200 levels")


def test_newer_output_paths_may_be_anything_and_older_ones_say_what_they_are() -> None:
    assert parsed(command(output_paths=["a", "b/c"])).outputs == (
        Output("a", OutputKind.ANY, "a"),
        Output("b/c", OutputKind.ANY, "b/c"),
    )
    assert parsed(command(output_files=["f"], output_directories=["d"])).outputs == (
        Output("f", OutputKind.FILE, "f"),
        Output("d", OutputKind.DIRECTORY, "d"),
    )


def test_output_paths_count_alone_when_there_are_any() -> None:
    both = command(output_paths=["a"], output_files=["/bad"], output_directories=["../bad"])
    assert parsed(both).outputs == (Output("a", OutputKind.ANY, "a"),)


@pytest.mark.parametrize("path", ["", ".", "a/..", "../w"])
def test_the_whole_working_directory_may_be_an_output_but_not_a_file(path: str) -> None:
    whole = command(working_directory="w", output_paths=[path])
    assert parsed(whole).outputs == (Output(path, OutputKind.ANY, "w"),)
    older = command(working_directory="w", output_directories=[path])
    assert parsed(older).outputs == (Output(path, OutputKind.DIRECTORY, "w"),)
    refused(command(working_directory="w", output_files=[path]), "working directory itself")


@pytest.mark.parametrize("path", ["..", "../..", "../v/..", "../../w"])
def test_what_contains_the_working_directory_may_be_an_output_but_not_a_file(path: str) -> None:
    assert parsed(command(working_directory="w/v", output_paths=[path])).outputs
    assert parsed(command(working_directory="w/v", output_directories=[path])).outputs
    refused(command(working_directory="w/v", output_files=[path]), "working directory itself")


def test_node_properties_that_nobody_knows_are_refused() -> None:
    known = command(output_node_properties=["mtime", "unix_mode"])
    assert parsed(known).output_properties == ("mtime", "unix_mode")
    refused(command(output_node_properties=["atime"]), "'atime' isn't supported")


def test_the_platform_of_the_action_counts_before_the_commands() -> None:
    older = command(platform=platform(os="old", network="on"))
    assert parsed(older).properties == (("os", "old"), ("network", "on"))
    assert parsed(older, platform(os="new")).properties == (("os", "new"),)


def test_a_property_may_have_more_than_one_value() -> None:
    twice = platform(ISA="x86-64")
    twice.properties.add(name="ISA", value="x86-avx2")
    assert parsed(command(), twice).properties == (("ISA", "x86-64"), ("ISA", "x86-avx2"))


def test_the_format_of_directories_is_kept() -> None:
    for wanted in re_pb2.Command.OutputDirectoryFormat.values():
        assert parsed(command(output_directory_format=wanted)).directory_format == wanted
