"""Three plots of a judged model, as PNG: calibration, gain, importance. The same data, the same picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.evaluate import Numbers, reliability

_SHOWN = 20  # features in the plot of importances


def draw(
    folder: Path,
    label: Numbers,
    scores: Mapping[str, Numbers],
    names: Sequence[str],
    importance: NDArray[np.float64],
) -> list[Path]:
    """Write the plots into a new folder. scores: "model" and its baselines, probabilities [n]."""
    folder.mkdir(parents=True)
    drawn = {
        "calibration": _calibration(label, scores["model"]),
        "gain": _gain(label, scores),
        "importance": _importance(names, importance),
    }
    paths = []
    for name, figure in drawn.items():
        paths.append(folder / f"{name}.png")
        FigureCanvasAgg(figure).print_png(paths[-1], metadata={"Software": None})
    return paths


def _calibration(label: Numbers, score: Numbers) -> Figure:
    expected, observed, error = reliability(label, score)
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    top = float(max(expected.max(), observed.max())) * 1.1
    axes.plot([0, top], [0, top], color="0.7")
    axes.errorbar(expected, observed, yerr=1.96 * error, fmt="o", capsize=3)
    axes.set(xlabel="predicted probability", ylabel="share that came true", title="Calibration")
    return figure


def _gain(label: Numbers, scores: Mapping[str, Numbers]) -> Figure:
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    share = np.arange(len(label) + 1) / len(label)
    for name, score in scores.items():
        found = np.cumsum(label[np.argsort(-score, kind="stable")]) / label.sum()
        axes.plot(share, np.r_[0, found], label=name, linewidth=2 if name == "model" else 1)
    axes.plot([0, 1], [0, 1], color="0.7")
    axes.set(xlabel="share of customers, highest score first", ylabel="share of the ones found", title="Gain")
    axes.legend()
    return figure


def _importance(names: Sequence[str], importance: NDArray[np.float64]) -> Figure:
    order = np.argsort(importance, kind="stable")[-_SHOWN:]
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    axes.barh([names[i] for i in order], importance[order] / max(float(importance.sum()), 1e-12))
    axes.set(xlabel="share of the loss reduced by splits on it", title="Importance")
    return figure
