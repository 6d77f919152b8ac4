"""The commands in a shell's script, as far as they can be read without running it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise

_OPERATORS = "();<>|&\n"
_BEFORE = {
    "!", "{", "do", "elif", "else", "if", "then", "time", "until", "while",
    "command", "env", "exec", "nice", "nohup", "sudo", "timeout", "xargs",
}  # fmt: skip
_NO_COMMAND = re.compile(r"[A-Za-z_]\w*=.*|-.*|\d+[a-z]?|\{\}", re.DOTALL)  # A=b, a flag, a number, xargs' place
_SUBSTITUTED = re.compile(r"\$\(([^()]*)\)|`([^`]*)`")
_SCRIPT_FOLLOWS = re.compile(r"-\w*c|eval")


def commands_of(script: str) -> list[list[str]]:
    """Each command of a script with its words, those in substitutions and in `bash -c` too."""
    inner = [one or other for one, other in _SUBSTITUTED.findall(script)]
    found: list[list[str]] = []
    for words in _simple_commands(script):
        found += [argv] if (argv := _command(words)) else []
        inner += [word for before, word in pairwise(words) if _SCRIPT_FOLLOWS.fullmatch(before)]
    return found + [each for text in inner if text != script for each in commands_of(text)]


def _command(words: list[str]) -> list[str]:
    """Without what may stand before a command's name: `if`, `A=b`, `sudo`, `xargs -n 1` …"""
    for place, word in enumerate(words):
        if word not in _BEFORE and not _NO_COMMAND.fullmatch(word):
            return words[place:]
    return []


def _simple_commands(script: str) -> Iterator[list[str]]:
    words: list[str] = []
    tokens = iter(_tokens(script.replace("\\\n", " ")))
    for token in tokens:
        if token.startswith("#"):
            token = next((each for each in tokens if "\n" in each), "\n")
        if set(token) <= set("<>&") and set(token) & set("<>"):
            next(tokens, "")  # the file
        elif set(token) <= set(_OPERATORS):
            yield words
            words = []
        else:
            words.append(token)
    yield words


def _tokens(script: str) -> list[str]:
    lexer = shlex.shlex(script, posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    try:
        return list(lexer)
    except ValueError:  # a quotation mark without its other half, as in a text that is fed to a command
        return re.findall(rf"[{re.escape(_OPERATORS)}]+|[^\s{re.escape(_OPERATORS)}]+", script)
