"""Open the page: app.py, from its options to its address.

python app.py
python app.py --port 8000 --recognizer whisper:tiny.en
SAYBIRD_PASSWORD=… python app.py --host 0.0.0.0 --user birds
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.console import say
from app.page.usage import LOOPBACK, Usage, add_endpoint
from asr.recognizers.registry import check_recognizer
from core.errors import Parser, UserError
from core.model_registry import RECOGNIZER

if TYPE_CHECKING:
    import gradio as gr

    from app.page.models import Models

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "SAYBIRD_PASSWORD"


def parser() -> Parser:
    p = Parser(
        prog="app.py", description="A page on which a bird is said, seen and found.", allow_abbrev=False
    )
    p.add_argument("--port", type=int, default=7860, help="(default 7860)")
    p.add_argument("--host", default="127.0.0.1",
                   help="another address than this machine's own needs --user (default 127.0.0.1)")  # fmt: skip
    p.add_argument("--user", help=f"the name to log in with; its password is read from {PASSWORD}")
    p.add_argument("--data", metavar="FOLDER", type=Path, default=ROOT / "datasets",
                   help="where the sets lie that are searched (default: datasets/ beside app.py)")  # fmt: skip
    p.add_argument("--recognizer", metavar="NAME", type=Path, default=RECOGNIZER,
                   help=f"as of generate.py (default {RECOGNIZER})")  # fmt: skip
    p.add_argument("--open", action="store_true", help="open it in the browser")
    return p


def check(args: argparse.Namespace) -> None:
    """Raise UserError where options do not fit together, or Gradio is missing."""
    if not 1 <= args.port <= 65535:
        raise UserError(f"--port {args.port}: expected 1 to 65535")
    if args.host not in LOOPBACK and not args.user:
        raise UserError(
            f"--host {args.host} lets others in: give --user NAME, and the password in {PASSWORD}"
        )
    if args.user and not os.environ.get(PASSWORD):
        raise UserError(f"--user {args.user} needs a password: set {PASSWORD}")
    check_recognizer(args.recognizer)
    if importlib.util.find_spec("gradio") is None:
        raise UserError('the page needs gradio: make page, or pip install "saybird[page]"')


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse(argv)
    check(args)
    # before gradio is imported: it reads these then
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    uploads = tempfile.mkdtemp(prefix="saybird-")
    os.environ["GRADIO_TEMP_DIR"] = uploads
    try:
        return serve(args)
    finally:
        shutil.rmtree(uploads, ignore_errors=True)


def serve(args: argparse.Namespace) -> int:
    from app.page.models import Models

    models = Models(ROOT, args.data, args.recognizer)

    from app.page.layout import build

    page = build(models, ROOT)
    try:
        login = (args.user, os.environ[PASSWORD]) if args.user else None
        launch(page, models.usage, args.host, args.port, login, args.open)
    except OSError as error:
        raise UserError(
            f"cannot listen on {args.host}:{args.port}: {error}; choose another --port"
        ) from error
    say("page", f"http://{args.host}:{args.port}   (Ctrl-C ends it)")
    if args.host not in LOOPBACK:
        say(
            "",
            "browsers give the microphone to https or localhost only: put https before it, or upload recordings",
        )
    sys.stdout.flush()
    warm_up(models)
    page.block_thread()
    return 0


def warm_up(models: "Models") -> None:
    """Hear and paint once, so that the first visitor need not wait for the models and what they import."""
    import numpy as np

    from core.runtime import prepare_process

    prepare_process()  # imports torch, which takes as long as all that the page itself needs

    from app.page.actions import paint
    from app.page.listening import Listening
    from asr.audio import load_audio

    spoken = Listening(models)  # as a microphone sends it: what changes rates takes seconds to import
    spoken.feed(48_000, np.repeat(load_audio(ROOT / "samples" / "red_crown.ogg") * 32767, 3).astype(np.int16))
    paint(models, spoken.finish().text or "a red bird", next(iter(models.painters)), [0])


def launch(
    page: "gr.Blocks",
    usage: Usage,
    host: str,
    port: int,
    login: tuple[str, str] | None = None,
    browser: bool = False,
) -> None:
    """Start to answer; returns at once. Raises OSError where the port is taken."""
    import gradio as gr

    from app.page.actions import MOST_UPLOAD
    from app.page.styles import COLOURS, CSS, HEAD

    plain = ("system-ui", "sans-serif")
    theme = gr.themes.Base(radius_size="lg", font=plain, font_mono=("ui-monospace", "monospace"))
    theme.set(**{key + dark: value for key, value in COLOURS.items() for dark in ("", "_dark")})
    app, _, _ = page.launch(
        server_name=host, server_port=port, auth=login, inbrowser=browser, prevent_thread_lock=True, quiet=True,
        share=False, ssr_mode=False, show_error=False, max_file_size=f"{MOST_UPLOAD}mb", footer_links=[],
        enable_monitoring=False, theme=theme, css=CSS, head=HEAD,
    )  # fmt: skip
    add_endpoint(app, usage)
