"""Mistakes of a user, told in one line without a traceback."""

import argparse
import difflib
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn


class UserError(Exception):
    """Something the user can mend: the message says what was found, what was expected and what to do next."""


def suggest(word: str, choices: Iterable[str]) -> str:
    """The nearest of `choices` as ' (did you mean "x"?)', or '' where none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def printable(text: object) -> str:
    """The text on one line, safe for a terminal: control characters, bidirectional marks and bytes that are not UTF-8
    (surrogates, as Python reads them from file names) as escapes."""

    def escape(letter: str) -> str:
        code = ord(letter)
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02x}"
        if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        return letter

    return "".join(map(escape, str(text)))


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are UserErrors, with the option that was probably meant."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """`parse_args`, for the words of the process where argv is None. Raises UserError."""
        args, rest = self.parse_known_args(argv)
        if rest:
            options = [option for action in self._actions for option in action.option_strings]
            self.error(f'"{rest[0]}" is not understood{suggest(rest[0], options)}')
        return args


def run_cli(main: Callable[[], int | None]) -> None:
    """Run a script's `main` and end the process: 0 when done, 2 on a user's mistake, 130 on Ctrl-C."""
    try:
        code = main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # `evaluate.py | head` is not an error
        sys.stderr.close()
        code = 0
    sys.exit(code)
