"""The arguments of the commands that look at past actions and run them again."""

from __future__ import annotations

from collections.abc import Callable

from reapi_contract import command_line
from reapi_contract.bounds import parse_whole
from reapi_contract.inspection import KINDS, MAX_ENTRIES
from reapi_local_launcher.cli.parser import Parser
from reapi_local_launcher.cli.server_flags import checked

_NAMES = """\
A digest is written as HASH/SIZE or HASH. Of an action with a cached result,
the first digits of its hash are enough.
"""
_SHOW = f"""\
Show what a digest is: an action with its command, inputs and cached result; a
command, a directory, a tree, a result, or a file. Values of variables and
arguments that look secret are masked.

{_NAMES}"""
_DIFF = f"""\
Show what differs between two actions: arguments, variables, platform, timeout,
outputs and input files; or which files differ between two trees.

{_NAMES}"""
_TREE = f"""\
List the input tree of an action, a directory, or the tree of an output
directory. A file that can be executed has a `*` after its name.

{_NAMES}"""
_EXPORT = f"""\
Write an action into a new directory: its input files, its environment and a
script `run`, which runs it with the programs of the machine where it is
started. README.txt in the directory says what it does not carry.

{_NAMES}"""
_REPLAY = f"""\
Run an action again on the server, without the cache, and compare what it makes
with the cached result byte by byte. The cached result stays as it is. Where no
result is cached, the action runs twice. Status 0 if all is equal, 3 if
something differs, 1 if it could not be told.

{_NAMES}"""
_SHELL = f"""\
Open a shell in a sandbox like that of an action: its input files, variables
and working directory. Nothing that you change there is kept. The server need
not run actions for this, but a sandbox has to work on this machine.

{_NAMES}"""

DEFAULT_ENTRIES = 1000


def add_action_commands(parser: Parser) -> tuple[list[Parser], list[Parser], list[Parser]]:
    """Add them. Returns all, those that print JSON, and those that need the server's Python."""
    show = parser.add_command("show", "show what a digest is: action, command, tree, file", _SHOW)
    diff = parser.add_command("diff", "show what differs between two actions or trees", _DIFF)
    tree = parser.add_command("tree", "list the input files of an action, or a tree", _TREE)
    export = parser.add_command("export", "write an action into a directory that can run", _EXPORT)
    replay = parser.add_command("replay", "run an action again and compare the results", _REPLAY)
    shell = parser.add_command("shell", "open a shell in the sandbox of an action", _SHELL)

    show.add_argument("digest", metavar="DIGEST", help="what to show")
    for stream in ("stdout", "stderr"):
        show.add_argument(
            f"--{stream}", action="store_true", help=f"print the {stream} of an action, only that"
        )
    show.add_argument("--content", action="store_true", help="print the bytes of a blob, only them")
    diff.add_argument("a", metavar="A", help="an action, a directory or a tree")
    diff.add_argument("b", metavar="B", help="the other one")
    diff.add_argument("--text", metavar="PATH", help="show how the lines of this file differ")
    tree.add_argument("digest", metavar="DIGEST", help="an action, a directory or a tree")
    tree.add_argument("path", nargs="?", default="", metavar="PATH", help="begin at this path")
    tree.add_argument("--depth", type=_whole(200), metavar="N", help="how many levels (all)")
    tree.add_argument(
        "--limit",
        type=_whole(MAX_ENTRIES),
        default=DEFAULT_ENTRIES,
        metavar="N",
        help="how many entries (default: %(default)s)",
    )
    tree.add_argument("--digests", action="store_true", help="show digests and whole paths")
    for one in (export, replay, shell):
        one.add_argument("action", metavar="ACTION", help="the action")
    export.add_argument("--to", required=True, metavar="DIR", help="the directory to make")
    for one in (show, diff, tree):
        one.add_argument("--as", dest="kind", choices=KINDS, help="what to take the blob for")
    for one in (show, diff):
        one.add_argument("--secrets", action="store_true", help="show secret values, too")
    every = [show, diff, tree, export, replay, shell]
    for one in every:
        one.add_argument(
            command_line.INSTANCE_FLAG,
            metavar="NAME",
            help="the instance that has the action's result (default: any)",
        )
    return every, [show, diff, tree, replay], [export, replay, shell]


def _whole(most: int) -> Callable[[str], int]:
    return checked(lambda text: parse_whole(text, most))
