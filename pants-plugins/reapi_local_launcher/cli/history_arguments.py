"""The arguments of the commands about what the server remembers."""

from __future__ import annotations

from reapi_contract import command_line
from reapi_contract.bounds import parse_whole
from reapi_contract.savings import DAY, GROUPS
from reapi_local_launcher.cli.parser import Parser
from reapi_local_launcher.cli.server_flags import checked

_MAX_ROWS = 1_000_000
_MAX_DAYS = 36_500

_RUNS = """\
List the latest runs of build tools that the server remembers: what they asked
the cache for, what it had, and what that saved. Pants' own counters, if the
plugin has reported the run; else what the server answered.
"""
_SAVINGS = """\
Sum up what the cache saved, and show what it cost: the space on disk, and what
was sent to it. Goals and targets are known for runs that the plugin reported.
"""
_EXPLAIN = """\
Say why processes of a run were executed and did not come from the cache: which
file, variable, argument or option differs from the time before. It explains
the last run that asked the cache, or another that `reapi-local runs` lists.
"""


def add_history(parser: Parser) -> tuple[Parser, Parser, Parser]:
    """Add the commands; returns their parsers."""
    runs = parser.add_command("runs", "list the latest runs and what the cache saved them", _RUNS)
    savings = parser.add_command("savings", "sum up what the cache saved and cost", _SAVINGS)
    savings.add_argument(
        "--by", choices=GROUPS, default=DAY, help="what to sum up by (default: %(default)s)"
    )
    savings.add_argument(
        "--days",
        type=checked(lambda text: parse_whole(text, _MAX_DAYS)),
        default=0,
        metavar="N",
        help="the last days only, today among them (default: all)",
    )
    for one in (runs, savings):
        _add_limit(one)
        one.add_argument(
            command_line.INSTANCE_FLAG, metavar="NAME", help="one instance (default: all)"
        )
    explain = parser.add_command("explain", "say why processes ran and were no hits", _EXPLAIN)
    _add_explain(explain)
    return runs, savings, explain


def _add_explain(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "process",
        nargs="?",
        default="",
        metavar="PROCESS",
        help="only processes whose description, target or action has this text, with all causes",
    )
    add("--run", default="", metavar="RUN", help="the run (default: the last)")
    add(command_line.INSTANCE_FLAG, metavar="NAME", help="only runs of this instance")
    add("--details", action="store_true", help="show all causes of each process")


def _add_limit(parser: Parser) -> None:
    parser.add_argument(
        *("-n", "--limit"),
        type=checked(lambda text: parse_whole(text, _MAX_ROWS)),
        default=20,
        metavar="N",
        help="how many lines (default: %(default)s)",
    )
