"""Avalanche's EWC on split MNIST, a task at each line of standard input; runs in Avalanche's own environment.

    python avalanche_worker.py MNIST_ROOT EPOCHS BATCH RATE STRENGTH SEED

The first line of JSON tells the images of each task; one after each task the seconds of its training and of its importances,
after the last task also the test accuracies. The images are the library's SplitMNIST without its normalisation: tensors in
memory. Nothing is logged and nothing evaluated while training.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from avalanche.benchmarks.classic import SplitMNIST
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.models import MultiHeadClassifier, MultiTaskModule
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import EWC
from torch import Tensor, nn

TASKS = 5


class Mlp(MultiTaskModule):
    """784-512-256 with dropout and a head a task."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in ((784, 512), (512, 256)):
            layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(0.5)]
        self.features = nn.Sequential(*layers)
        self.classifier = MultiHeadClassifier(256, initial_out_features=2)

    def forward(self, x: Tensor, task_labels: Any) -> Tensor:
        return self.classifier(self.features(x), task_labels)


class TimedEwc(EWC):
    """Notes when the epochs of an experience end: what its plugin does afterwards is the importances."""

    trained = 0.0

    def _after_training_exp(self, **kwargs: Any) -> None:
        self.trained = time.perf_counter()
        super()._after_training_exp(**kwargs)


def split_mnist(root: str) -> Any:
    """Two digits a task in their own order; targets within the task."""
    return SplitMNIST(
        TASKS,
        return_task_id=True,
        fixed_class_order=list(range(10)),
        class_ids_from_zero_in_each_exp=True,
        train_transform=None,
        eval_transform=None,
        dataset_root=root,
    )


def main(root: str, epochs: int, batch: int, rate: float, strength: float, seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    benchmark = split_mnist(root)
    network = Mlp()
    strategy = TimedEwc(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=rate),
        criterion=nn.CrossEntropyLoss(),
        ewc_lambda=strength,
        mode="online",
        decay_factor=1.0,  # one penalty with the sum of all importances, as ours
        train_mb_size=batch,
        train_epochs=epochs,
        eval_mb_size=1000,
        evaluator=EvaluationPlugin(accuracy_metrics(experience=True), loggers=[], strict_checks=False),
    )
    print(json.dumps({"images": [len(experience.dataset) for experience in benchmark.train_stream]}), flush=True)
    for task, experience in enumerate(benchmark.train_stream):
        sys.stdin.readline()
        start = time.perf_counter()
        strategy.train(experience)
        end = time.perf_counter()
        said: dict[str, object] = {"training": strategy.trained - start, "importance": end - strategy.trained}
        if task == TASKS - 1:
            found = strategy.eval(benchmark.test_stream)
            said["accuracies"] = [value for name, value in sorted(found.items()) if name.startswith("Top1_Acc_Exp/")]
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    root, epochs, batch, rate, strength, seed = sys.argv[1:]
    main(root, int(epochs), int(batch), float(rate), float(strength), int(seed))
