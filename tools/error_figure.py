"""The figure of docs/statistics.md, from the table there: how far estimated effects are from the true ones, by evaluations.

    pip install matplotlib
    python tools/error_figure.py docs/statistics.md docs/error.svg

The table is what `pooled_study` prints. Lines are over all campaigns, bands hold nine campaigns of ten.
"""

import collections
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

TITLES = {
    "note10-0": "Note10 latency, no noise (ms)",
    "note10-1": "Note10 latency, 1 % noise (ms)",
    "note10-3": "Note10 latency, 3 % noise (ms)",
    "accuracy-mbv3": "OFA-MobileNetV3 accuracy (points)",
    "accuracy-resnet50": "OFA-ResNet50 accuracy (points)",
    "hostile": "Simulated device, hostile (ms)",
}
# Okabe and Ito's colours, told apart by every kind of sight.
STYLES = {
    "sampled": ("#777777", "s", "sampled (published method)"),
    "pooled": ("#0072B2", "o", "pooled (drawn networks)"),
    "designed": ("#D55E00", "D", "designed (chosen networks)"),
}


def read(path):
    """By setting and estimator: (evaluations, RMSE, 5 %, 95 %), ascending."""
    found = collections.defaultdict(list)
    for line in open(path, encoding="utf-8"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 10 and cells[0] in TITLES and cells[1] in STYLES:
            error, (low, high) = float(cells[4]), map(float, cells[5].split(" to "))
            # What rounds to nothing has no place on a logarithmic axis.
            if low > 0:
                found[cells[0], cells[1]].append((int(cells[2]), error, low, high))
    return {key: sorted(rows) for key, rows in found.items()}


def draw(axes, setting, found):
    for estimator, (color, marker, label) in STYLES.items():
        if rows := found.get((setting, estimator)):
            evaluations, error, low, high = zip(*rows)
            axes.fill_between(evaluations, low, high, color=color, alpha=0.18, linewidth=0)
            axes.plot(evaluations, error, color=color, marker=marker, markersize=4, linewidth=1.5, label=label)
    if rows := found.get((setting, "sampled")):
        evaluations, error = rows[-1][:2]
        axes.axhline(error, color=STYLES["sampled"][0], linewidth=0.8, linestyle=":", zorder=0)
    axes.set(xscale="log", yscale="log", xlim=(20, 25_000))
    axes.set_title(TITLES[setting], fontsize=10, loc="left")
    axes.xaxis.set_major_locator(FixedLocator([25, 100, 250, 1_000, 5_000, 18_000]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    low, high = axes.get_ylim()
    wide = high / low > 100
    axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.grid(True, which="major", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = sys.argv[1:]
    found = read(source)
    if not found:
        sys.exit(f"{source}: no table with the settings {', '.join(TITLES)} in it")
    # Text stays text, and the same table gives the same file.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "blocklens", "font.family": "sans-serif"})
    figure, panels = plt.subplots(2, 3, figsize=(11, 6))
    for axes, setting in zip(panels.flat, TITLES):
        draw(axes, setting, found)
    for axes in panels[:, 0]:
        axes.set_ylabel("RMSE of block effects", fontsize=9)
    for axes in panels[-1]:
        axes.set_xlabel("networks evaluated", fontsize=9)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=len(labels), frameon=False, fontsize=10)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(target, facecolor="white", metadata={"Date": None})


main()
