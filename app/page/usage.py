"""How the page is used, in the text format of Prometheus: requests, seconds, refusals and failures of each function."""

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from core.errors import UserError

if TYPE_CHECKING:
    from starlette.applications import Starlette

PATH = "/metrics"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HELP = {
    "requests": "Calls of a function of the page.",
    "refusals": "Calls that ended with a line for the visitor.",
    "failures": "Calls that ended with a fault of the page.",
    "seconds": "Seconds of all calls, waiting for others included.",
    "waiting_seconds": "Seconds that calls waited for their turn with the models.",
}


class Usage:
    """Counters that threads may share; the largest figures that are ever kept are one for each function."""

    def __init__(self) -> None:
        self.started = time.time()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, figure: str, function: str, by: float = 1) -> None:
        """figure: a key of HELP."""
        with self._lock:
            self._counts[figure, function] += by  # type: ignore[assignment]

    def __getitem__(self, key: tuple[str, str]) -> float:
        return self._counts[key]

    @contextmanager
    def count(self, function: str) -> Iterator[None]:
        """One call of a function."""
        began = time.monotonic()
        try:
            yield
        except UserError:
            self.add("refusals", function)
            raise
        except Exception:
            self.add("failures", function)
            raise
        finally:
            self.add("requests", function)
            self.add("seconds", function, time.monotonic() - began)

    def text(self) -> str:
        """All counters as Prometheus reads them."""
        from core.runtime import memory_mb

        with self._lock:
            counts = dict(self._counts)
        lines = []
        for figure, meaning in HELP.items():
            name = f"saybird_{figure}_total"
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} counter"]
            lines += [
                f'{name}{{function="{function}"}} {value:.6g}'
                for (key, function), value in sorted(counts.items())
                if key == figure
            ]
        for name, meaning, value in (
            ("process_resident_memory_bytes", "Resident memory of the page.", memory_mb("VmRSS") * 1e6),
            ("process_start_time_seconds", "When it started, in seconds since 1970.", self.started),
        ):
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value:.0f}"]
        return "\n".join(lines) + "\n"


def counted(fn: Callable) -> Callable:
    """A function whose first argument is the `Models`: its calls are counted under its name."""

    @functools.wraps(fn)
    def call(models: Any, *args: Any, **options: Any) -> Any:
        with models.usage.count(fn.__name__):
            return fn(models, *args, **options)

    return call


def add_endpoint(app: "Starlette", usage: Usage) -> None:
    """Answer /metrics on this machine alone: who else asks is told that there is nothing."""
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    def metrics(request: Request) -> Response:
        # a proxy on this machine passes on what others ask
        near = request.client is not None and request.client.host in LOOPBACK
        if not near or "x-forwarded-for" in request.headers:
            return PlainTextResponse("not found", 404)
        return PlainTextResponse(usage.text(), media_type="text/plain; version=0.0.4")

    app.router.routes.insert(0, Route(PATH, metrics))  # before Gradio's own, which take every path
