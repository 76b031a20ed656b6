"""Mistakes of a user, told in one line without a traceback."""

import difflib
import sys
from collections.abc import Callable, Iterable


class UserError(Exception):
    """Something the user can mend: the message says what was found, what was expected and what to do next."""


def suggest(word: str, choices: Iterable[str]) -> str:
    """The nearest of `choices` as ' (did you mean "x"?)', or '' where none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


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
