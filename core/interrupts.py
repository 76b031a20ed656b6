"""Ctrl-C and SIGTERM, from the first line of a command to its last.

The first signal raises KeyboardInterrupt, or waits for the end of a training's step where `hold_signals` is in force.
A second one ends the process at once, also while it is inside a long product of matrices, where Python runs no handler:
a thread of its own sees it.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WATCHER = "second signal"
APART = 0.5  # seconds; signals that are closer are one: a terminal's Ctrl-C reaches a process by more than one way


class Terminated(KeyboardInterrupt):
    """SIGTERM: the message, where there is one, says what was kept."""


def catch_signals() -> None:
    """Handle both signals from here on. Does nothing in a thread that is not the main one."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        signal.signal(number, _raise)
    if any(thread.name == WATCHER for thread in threading.enumerate()):
        return
    seen, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(seen, told), daemon=True, name=WATCHER).start()
    os.register_at_fork(after_in_child=_as_by_default)  # a worker's signals are its own


@contextmanager
def hold_signals(ask: Callable[[int], None]) -> Iterator[None]:
    """The first signal calls `ask` with its number instead of raising KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first = None

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal first
        first = first or time.monotonic()
        if time.monotonic() - first > APART:
            _raise(number, frame)
        ask(number)

    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def interrupt(number: int, message: str) -> KeyboardInterrupt:
    """What to raise when a signal that was held is obeyed."""
    return Terminated(message) if number == signal.SIGTERM else KeyboardInterrupt(message)


def _raise(number: int, frame: FrameType | None) -> None:
    raise interrupt(number, "")


def _as_by_default() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _watch(seen: socket.socket, told: socket.socket) -> None:
    """Ends the process at the second signal. `told` is held so that it stays open."""
    first = None
    while numbers := seen.recv(16):
        for number in numbers:
            if number not in SIGNALS:
                continue
            now = time.monotonic()
            first = first or now
            if now - first > APART:
                print("\nstopped at once; what was saved before is kept", file=sys.stderr, flush=True)
                os._exit(128 + number)
