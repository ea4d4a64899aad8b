"""What reports show: how each quantity is called, its unit and how many digits it is given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A quantity of a table or an axis."""

    label: str
    unit: str = ""
    digits: str = ".2f"

    @property
    def axis(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label


METRICS = {
    "acc": Quantity("ACC", "%"),
    "bwt": Quantity("BWT", "%"),
    "fwt_joint": Quantity("FWT (against joint)", "%"),
    "fwt_gem": Quantity("FWT (GEM)", "%"),
}
"""Of an experiment's summary."""

QUANTITIES = {
    **METRICS,
    "final": Quantity("Accuracy", "%"),
    "oracle": Quantity("Accuracy, task told", "%"),
    "mapper": Quantity("Accuracy of the task mapper", "%"),
    "lead": Quantity("ACC above the first curve's at equal BWT", "%", "+.2f"),
    "acc_difference": Quantity("ACC difference", "points", "+.2f"),
    "bwt_difference": Quantity("BWT difference", "points", "+.2f"),
    "gap_old": Quantity("Gap of earlier tasks", digits="+.3f"),
    "gap_new": Quantity("Gap of the new task", digits="+.3f"),
    "iou_first": Quantity("First", "%"),
    "iou_later": Quantity("Later", "%"),
    "iou_all": Quantity("All", "%"),
    "iou_all_background": Quantity("All and background", "%"),
    "iou_seen": Quantity("Mean IoU of the classes seen", "%"),
    "iou": Quantity("IoU", "%"),
    "accuracy": Quantity("Mean accuracy on the tasks seen", "%"),
    "left": Quantity("Left of the accuracy after task 1", "%", ".1f"),
    "milliseconds": Quantity("Processor time of a mini-batch", "ms", ".1f"),
    "time_ratio": Quantity("Time beside the first of its network"),
    "models": Quantity("Memory of the task models", "MB"),
    "parameters": Quantity("Parameters", digits=",.0f"),
    "density": Quantity("Density", digits=".3g"),
    "kurtosis_fisher": Quantity("Kurtosis (Fisher)", digits=",.1f"),
    "kurtosis_pearson": Quantity("Kurtosis (Pearson)", digits=",.1f"),
    "skewness": Quantity("Skewness"),
    "low_share": Quantity("Low share", "%", ".1f"),
    "frechet_gaussian": Quantity("Fréchet distance, Gaussians", digits=".5f"),
    "frechet_curve": Quantity("Fréchet distance, density curves", digits=".3f"),
    "change_mean": Quantity("Mean absolute change of a weight", digits=".4f"),
    "change_sum": Quantity("Sum of absolute changes", digits=",.1f"),
}

PROTOCOLS = ("task_incremental", "class_incremental")


def format_value(metric: str, mean: float, deviation: float | None, n: int) -> str:
    """`98.34 ± 0.15`, or `98.34 (n = 1)` where there is no deviation; without a word on n where it means nothing (n = 0)."""
    digits = QUANTITIES[metric].digits
    text = f"{mean:{digits}}"
    if deviation is not None:
        return f"{text} ± {deviation:{digits.lstrip('+')}}"
    return f"{text} (n = {n})" if n else text
