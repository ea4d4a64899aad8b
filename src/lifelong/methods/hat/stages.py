"""HAT, hard attention to the task (Serra et al. 2018, sections 2.2-2.6; reading B10).

Each task learns an embedding e of every hidden layer, and the units' outputs are multiplied by a = sigmoid(s * e). What
earlier tasks attend to is kept from changing. State: `gates` are sigmoid(s_max * e) of all tasks; the embeddings themselves
are done with when their task is. The released clipping of gradients to norm 10000 is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lifelong.methods.hat import HatOptions
from lifelong.networks.base import Network
from lifelong.networks.gates import Gate
from lifelong.runtime.errors import UserError
from lifelong.runtime.randomness import draw_on_processor, generator
from lifelong.training.fit import Objective, StepHook
from lifelong.training.job import Job, State, weights

LARGEST = 50.0  # of s * e in cosh, which overflows beyond (as released)


class Attention(Gate):
    """a = sigmoid(s * e) of the task that is learnt: s is annealed while training, and s_max otherwise."""

    def __init__(self, embeddings: list[Tensor], scale_max: float) -> None:
        super().__init__()
        self.embeddings = nn.ParameterList(nn.Parameter(tensor) for tensor in embeddings)
        self.scale_max = scale_max
        self.scale = scale_max

    def forward(self, number: int) -> Tensor:
        return torch.sigmoid((self.scale if self.training else self.scale_max) * self.embeddings[number])


class Annealing(StepHook):
    """s and the embeddings' gradients, step by step."""

    def __init__(self, attention: Attention, bound: float) -> None:
        self.attention = attention
        self.bound = bound

    def before_step(self, batch: int, batches: int) -> None:
        """s = 1/s_max + (s_max - 1/s_max) * b / (B - 1), b from 0: from soft to hard in every epoch (section 2.4)."""
        low, high = 1 / self.attention.scale_max, self.attention.scale_max
        self.attention.scale = low + (high - low) * batch / (batches - 1)

    def on_gradients(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Embeddings' gradients times s_max/s * (cosh(s*e) + 1) / (cosh(e) + 1): the annealing undone (section 2.5)."""
        s, s_max = self.attention.scale, self.attention.scale_max
        for name, e in parameters.items():
            if name.startswith("gate."):
                hard = torch.cosh((s * e).clamp(-LARGEST, LARGEST)) + 1
                gradients[name].mul_(s_max / s * hard / (torch.cosh(e) + 1))

    def after_step(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], rate: float) -> None:
        """Embeddings stay within +-bound, where their gradients do not vanish (section 2.5)."""
        for name, e in parameters.items():
            if name.startswith("gate."):
                e.clamp_(-self.bound, self.bound)


def learn(job: Job, options: HatOptions, state: State | None) -> State:
    """Minimise cross-entropy + lambda * R behind the gates that are learnt, shared gradients masked by what is in use."""
    if len(job.task.train) <= job.experiment.training.batch_size:
        raise UserError(
            f"{job.label}: the {len(job.task.train)} training images are one batch of training.batch_size = "
            f"{job.experiment.training.batch_size}; hat anneals its gates over an epoch's batches: make it smaller"
        )
    network = job.network(state)
    drawn = [_embeddings(job, task, network.hidden_widths()) for task in range(job.tasks)]
    if state:
        gates = {name: table.clone() for name, table in state["gates"].items()}
    else:
        gates = {
            f"hidden.{number}": torch.sigmoid(options.scale_max * torch.stack(of_layer))
            for number, of_layer in enumerate(zip(*drawn, strict=True))
        }
    index = job.task.index
    used = [table[:index].amax(0) if index else torch.zeros_like(table[0]) for table in gates.values()]
    attention = Attention(drawn[index], options.scale_max)
    network.gate = attention
    job.fit(
        network,
        objective=sparse_objective(job.objective(network), attention, used, options.strength),
        masks=free_share(network, used),
        hook=Annealing(attention, options.embedding_bound),
    )
    for number, name in enumerate(gates):
        gates[name][index] = attention.eval()(number).detach()
    network.gate = None
    return {"network": weights(network), "gates": gates}


def sparse_objective(objective: Objective, attention: Attention, used: list[Tensor], strength: float) -> Objective:
    """objective + lambda * R, R = sum a * (1 - used) / sum (1 - used) over all hidden units (section 2.6).

    `used` [width] of each layer is the largest gate of any earlier task: attending again to what is in use costs nothing.
    """
    free = [1 - tensor for tensor in used]
    capacity = torch.stack([tensor.sum() for tensor in free]).sum().clamp_min(torch.finfo(torch.float32).tiny)

    def regularised(images: Tensor, targets: Tensor) -> Tensor:
        attended = [(attention(number) * tensor).sum() for number, tensor in enumerate(free)]
        return objective(images, targets) + strength * torch.stack(attended).sum() / capacity

    return regularised


def free_share(network: Network, used: list[Tensor]) -> dict[str, Tensor]:
    """What gradients of hidden layers are multiplied by: 1 - min(used_l[i], used_l-1[j]) for weight ij (section 2.3).

    The images count as wholly used, so that the first layer's weights, like all biases, have 1 - used_l[i].
    """
    shares: dict[str, Tensor] = {}
    pixels = dict(network.named_parameters())["hidden.0.weight"].shape[1]
    for number, outputs in enumerate(used):
        inputs = used[number - 1] if number else torch.ones(pixels)
        shares[f"hidden.{number}.weight"] = 1 - torch.minimum(outputs[:, None], inputs[None, :])
        shares[f"hidden.{number}.bias"] = 1 - outputs
    return shares


def _embeddings(job: Job, task: int, widths: list[int]) -> list[Tensor]:
    """A task's embeddings before it is learnt, standard normal."""
    source = generator(job.seed, "embeddings", task)
    return [draw_on_processor(torch.randn, width, generator=source) for width in widths]
