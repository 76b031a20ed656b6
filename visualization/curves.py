"""Curves of measured values, drawn by matplotlib."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from visualization.canvas import DOUBT, INK, LINE, PAPER, QUIET


def loglog_curve(
    points: Sequence[tuple[float, float]],
    extrapolated: Sequence[tuple[float, float]],
    levels: Sequence[tuple[str, float]],
    titles: tuple[str, str],
    note: str = "",
) -> Image.Image:
    """Measured (x, y) on logarithmic axes, their extrapolation dashed, named levels of y, and the titles of x and y."""
    # not at the top: the import takes a second or two, and the figure needs no pyplot, hence no display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import FuncFormatter, LogLocator

    ink, quiet, line, doubt, paper = (
        tuple(np.array(colour) / 255) for colour in (INK, QUIET, LINE, DOUBT, PAPER)
    )
    figure = Figure(
        figsize=(9.6, 5.4), dpi=100, facecolor=paper, layout=ConstrainedLayoutEngine(w_pad=0.25, h_pad=0.2)
    )
    axes = figure.add_subplot(xscale="log", yscale="log", facecolor=paper)
    axes.grid(True, which="both", color=line, linewidth=0.6)
    axes.set_axisbelow(True)
    for name, y in levels:
        axes.axhline(y, color=doubt, linewidth=1.5)
        axes.annotate(f"{name}: {y:.3g}", (0.99, y), xycoords=("axes fraction", "data"), xytext=(0, 4),
                      textcoords="offset points", ha="right", color=doubt, fontsize=10)  # fmt: skip
    if extrapolated:
        axes.plot(*zip(*points[-1:], *extrapolated, strict=True), color=quiet, linewidth=1.5, linestyle="--")
    axes.plot(*zip(*points, strict=True), color=ink, linewidth=2, marker="o", markersize=6)
    placed = -np.inf
    for x, y in points:
        across = axes.transData.transform((x, y))[0]
        if across - placed > 40:  # px; else the figure would cover the one before
            axes.annotate(
                f"{y:.3g}", (x, y), xytext=(0, 8), textcoords="offset points", ha="center", color=ink
            )
            placed = across
    axes.set_xlabel(titles[0], color=ink)
    axes.set_ylabel(titles[1], color=ink)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.tick_params(colors=quiet)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.06, y=0.12)
    if note:
        figure.supxlabel(note, color=quiet, fontsize=10)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
