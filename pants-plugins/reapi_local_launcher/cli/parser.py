"""An argument parser that knows its commands and flags, and answers a mistake in two lines."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from reapi_contract.suggestions import no_such
from reapi_local_launcher.cli.terminal import indented

_WIDTH = 80
_CHOICE = re.compile(r"([^:]+): invalid choice: '(.*)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """The parser of a command, or of all of them.

    `commands`: the parsers of the commands below it, by name. `flags`: the actions of its flags, by
    the text that a user types. `words`: the actions of its other arguments. `summary`: what the
    command does, in a few words.
    """

    def __init__(self, **settings: Any) -> None:
        self.commands: dict[str, Parser] = {}
        self.flags: dict[str, argparse.Action] = {}
        self.words: list[argparse.Action] = []
        self.summary = ""
        self._below: Any = None
        super().__init__(formatter_class=_formatter, allow_abbrev=False, **settings)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        action = super().add_argument(*names, **settings)
        self.flags.update(dict.fromkeys(action.option_strings, action))
        if not action.option_strings:
            self.words.append(action)
        return action

    def add_command(self, name: str, summary: str, description: str = "") -> Parser:
        """Add a command; `summary` begins in lower case and has no full stop."""
        if self._below is None:
            self._below = self.add_subparsers(
                title="commands", metavar="COMMAND", parser_class=Parser
            )
        made: Parser = self._below.add_parser(
            name,
            help=summary,
            description=description or f"{summary[0].upper()}{summary[1:]}.",
        )
        self.commands[name] = made
        made.summary = summary
        return made

    def at(self, words: Sequence[str], meant: Mapping[str, str] | None = None) -> Parser:
        """The parser of the command that these words begin with. Exits if there is no such one.

        `meant`: for a word that is no command, the command that does what it says.
        """
        if not self.commands or not words:
            return self
        name, *rest = words
        if name.startswith("-"):
            self._refuse_flag_of_a_command(name.partition("=")[0])
            return self
        if name in self.commands:
            return self.commands[name].at(rest)
        if meant and name in meant:
            self.refuse(f"There is no command `{name}`; did you mean `{meant[name]}`?")
        return self.refuse(no_such("command", name, self.commands))

    def _refuse_flag_of_a_command(self, flag: str) -> None:
        """Exit if this flag isn't one of this parser, whose commands follow."""
        if flag in self.flags:
            return
        if any(flag in command.flags for command in self.commands.values()):
            self.refuse(f"`{flag}` goes after the command: `{self.prog} COMMAND {flag}`.")
        self.refuse(no_such("flag", flag, self.flags))

    def refuse_unknown(self, words: Sequence[str]) -> NoReturn:
        """Exit because of words that are no arguments of this command."""
        flags = [word.partition("=")[0] for word in words if word.startswith("-")]
        if flags:
            self.refuse(no_such("flag", flags[0], self.flags))
        self.refuse(f"`{words[0]}` is one argument too many.")

    def refuse(self, sentence: str) -> NoReturn:
        """Exit with status 2: what is wrong with the arguments, and how to see the right ones."""
        program, _, command = self.prog.partition(" ")
        shown = f"{program} help {command}".strip()
        lists = "flags" if command and not self.commands else "commands"
        indented("error:", sentence, sys.stderr.write)
        sys.stderr.write(f"`{shown}` lists the {lists}.\n")
        raise SystemExit(2)

    def error(self, message: str) -> NoReturn:
        """What argparse found wrong, in our form."""
        sentence = message.removeprefix("argument ").rstrip(".")
        choice = _CHOICE.fullmatch(sentence)
        if choice:
            what, given, choices = choice.groups()
            self.refuse(f"{what}: `{given}` is none of {choices.replace(chr(39), '')}.")
        sentence = sentence.replace(
            "the following arguments are required", "an argument is missing"
        )
        self.refuse(f"{sentence[0].upper()}{sentence[1:]}.")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, width=_WIDTH, max_help_position=26)
