"""Mistakes of a user, told in one line without a traceback."""

import argparse
import difflib
import errno
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
    """Run a script's `main` and end the process: 0 when done, 2 on a user's mistake, 130 on Ctrl-C, 143 on SIGTERM."""
    from core.interrupts import Terminated, catch_signals
    from core.standins import QUESTIONS, stand_in_for_heavy_packages

    for stream in (sys.stdout, sys.stderr):
        # a text with bytes that the terminal's encoding lacks must not end a command; tests may have other streams
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        catch_signals()
        if QUESTIONS.intersection(sys.argv[1:]):
            stand_in_for_heavy_packages()
        code = main() or 0
        sys.stdout.flush()
    except UserError as error:
        code = _complain(f"error: {printable(error)}", 2)
    except KeyboardInterrupt as error:
        code = _complain(printable(error) or "stopped", 143 if isinstance(error, Terminated) else 130)
    except BrokenPipeError:  # `evaluate.py | head` is not an error
        sys.stderr.close()
        code = 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            raise
        where = f" {printable(error.filename)}" if error.filename else ""
        code = _complain(
            f"error: cannot write{where}: {error.strerror}; free some space or choose another path", 2
        )
    sys.exit(code)


def _complain(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
