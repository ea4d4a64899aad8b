"""Some fifty broken files: each fault is told with file, line, key, what was found, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from lifelong.params import load
from lifelong.runtime.errors import UserError

WHOLE = """\
datasets:
  birds: {path: birds.tar, image_size: 32, channels: colour, test_fraction: 0.2}
sequences:
  digits-2: {dataset: digits, kind: split, tasks: 2, classes_per_task: 2, validation: {fraction: 0.15, seed: 0}}
networks:
  small: {kind: mlp, hidden: [16, 8], initialisation: truncated-normal}
training:
  short: {learning_rate: 0.05, batch_size: 32, epochs: 3}
experiments:
  plain:
    sequence: digits-2
    network: small
    training: short
    method: finetune
    seeds: 2
  ewc:
    like: plain
    method: ewc
    options: {strength: 5}
  joint:
    like: plain
    method: joint
reports:
  mine:
    comparison:
      title: Mine
      experiments: {Fine-tuning: plain, EWC: ewc, Joint: joint}
"""


class Broken(NamedTuple):
    """A part of the whole file, what stands in its place, the line (its beginning) and the key told, and what is said."""

    part: str
    instead: str
    line: str
    key: str
    said: tuple[str, ...]


EXPERIMENTS = WHOLE[WHOLE.index("  plain:") : WHOLE.index("reports:")]
CASES = {
    "no count of seeds": Broken(
        "seeds: 2", "seeds: 0", "seeds:", "experiments.plain.seeds", ("found 0;", "greater than or equal to 1; write one")
    ),
    "seeds by yes": Broken(
        "seeds: 2",
        "seeds: true",
        "seeds:",
        "experiments.plain.seeds",
        ("found true;", "a whole number or a list; write one"),
    ),
    "seeds by word": Broken(
        "seeds: 2", "seeds: two", "seeds:", "experiments.plain.seeds", ("found 'two';", "a whole number or a list")
    ),
    "half a seed": Broken("seeds: 2", "seeds: 1.5", "seeds:", "experiments.plain.seeds", ("found 1.5;", "a whole number")),
    "seeds left open": Broken(
        "seeds: 2", "seeds:", "seeds:", "experiments.plain.seeds", ("found nothing;", "write it behind the key")
    ),
    "a seed twice": Broken(
        "seeds: 2", "seeds: [0, 0]", "seeds:", "experiments.plain.seeds", ("found [0, 0];", "seeds that differ")
    ),
    "a negative seed": Broken(
        "seeds: 2", "seeds: [0, -1]", "seeds:", "experiments.plain.seeds.1", ("found -1;", "equal to 0")
    ),
    "a section twice": Broken(
        "reports:\n",
        "experiments:  # again\n  more: {like: plain}\nreports:\n",
        "experiments:  # again",
        "experiments",
        ("given twice, first in line 9", "keep one"),
    ),
    "experiments as a list": Broken(
        EXPERIMENTS,
        "  - {sequence: digits-2}\n",
        "experiments:",
        "experiments",
        ("found a list;", "entries by name", "write 'NAME: ...'"),
    ),
    "experiments as a word": Broken(
        EXPERIMENTS, "  plain\n", "experiments:", "experiments", ("found 'plain';", "entries by name")
    ),
    "no experiments": Broken(
        EXPERIMENTS, "", "experiments:", "experiments", ("found nothing;", "write 'NAME: ...' for each")
    ),
    "a misspelt section": Broken(
        "experiments:\n  plain:",
        "experiment:\n  plain:",
        "experiment:",
        "experiment",
        ("unknown key", "Did you mean 'experiments'?"),
    ),
    "a misspelt key": Broken(
        "method: finetune", "methd: finetune", "methd", "experiments.plain.methd", ("unknown key", "Did you mean 'method'?")
    ),
    "an unknown method": Broken(
        "method: finetune",
        "method: finetun",
        "method: finetun",
        "experiments.plain.method",
        ("'finetun' is unknown", "Did you mean 'finetune'?"),
    ),
    "two methods": Broken(
        "method: finetune",
        "method: [finetune, ewc]",
        "method:",
        "experiments.plain.method",
        ("found a list;", "expected text"),
    ),
    "no method": Broken(
        "    method: finetune\n", "", "plain:", "experiments.plain.method", ("this key is missing", "write 'method: ...'")
    ),
    "an unknown network": Broken(
        "network: small",
        "network: smal",
        "network:",
        "experiments.plain.network",
        ("'smal' is unknown", "Did you mean 'small'?"),
    ),
    "a network in place": Broken(
        "network: small",
        "network: {kind: mlp}",
        "network:",
        "experiments.plain.network",
        ("found keys and values;", "expected text"),
    ),
    "an unknown sequence": Broken(
        "sequence: digits-2",
        "sequence: digits",
        "sequence:",
        "experiments.plain.sequence",
        ("'digits' is unknown", "Did you mean 'digits-2'?"),
    ),
    "like nobody": Broken(
        "like: plain\n    method: ewc",
        "like: plane\n    method: ewc",
        "like: plane",
        "experiments.ewc.like",
        ("'plane' is unknown", "Did you mean 'plain'?"),
    ),
    "like itself": Broken(
        "like: plain\n    method: ewc",
        "like: ewc\n    method: ewc",
        "like: ewc",
        "experiments.ewc.like",
        ("a circle", "write one of them without 'like'"),
    ),
    "like two": Broken(
        "like: plain\n    method: ewc",
        "like: [plain, joint]\n    method: ewc",
        "like: [",
        "experiments.ewc.like",
        ("found ['plain', 'joint'];", "one other entry"),
    ),
    "a number by word": Broken(
        "{strength: 5}",
        "{strength: five}",
        "options:",
        "experiments.ewc.options.strength",
        ("found 'five';", "a number; write one"),
    ),
    "a missing option": Broken(
        "{strength: 5}",
        "{}",
        "options:",
        "experiments.ewc.options.strength",
        ("this key is missing", "write 'strength: ...' with a number"),
    ),
    "a negative option": Broken(
        "{strength: 5}",
        "{strength: -5}",
        "options:",
        "experiments.ewc.options.strength",
        ("found -5;", "greater than or equal to 0"),
    ),
    "a misspelt option": Broken(
        "{strength: 5}",
        "{strenght: 5}",
        "options:",
        "experiments.ewc.options.strenght",
        ("unknown key", "Did you mean 'strength'?"),
    ),
    "no finite number": Broken(
        "{strength: 5}",
        "{strength: .inf}",
        "options:",
        "experiments.ewc.options.strength",
        ("found .inf;", "a finite number"),
    ),
    "options as a list": Broken(
        "{strength: 5}", "[strength, 5]", "options:", "experiments.ewc.options", ("found a list;", "write 'KEY: VALUE'")
    ),
    "a quoted number": Broken(
        "0.05", "'0.05'", "short:", "training.short.learning_rate", ("found '0.05';", "a number", "without quotes")
    ),
    "no number": Broken("0.05", "5e-2x", "short:", "training.short.learning_rate", ("found '5e-2x';", "a number")),
    "half an epoch": Broken("epochs: 3", "epochs: 2.5", "short:", "training.short.epochs", ("found 2.5;", "a whole number")),
    "a key twice": Broken(
        "epochs: 3", "epochs: 3, epochs: 4", "short:", "training.short.epochs", ("given twice", "keep one")
    ),
    "half a rule": Broken(
        "epochs: 3", "epochs: 3, decay_factor: 0.5", "short:", "training.short", ("needs 'decay_every' or 'milestones'",)
    ),
    "no layer": Broken("hidden: [16, 8]", "hidden: []", "small:", "networks.small.hidden", ("found [];", "at least 1 item")),
    "one layer": Broken("hidden: [16, 8]", "hidden: 16", "small:", "networks.small.hidden", ("found 16;", "a list")),
    "a layer by word": Broken(
        "hidden: [16, 8]", "hidden: [16, big]", "small:", "networks.small.hidden.1", ("found 'big';", "a whole number")
    ),
    "an unknown kind": Broken(
        "kind: mlp", "kind: mpl", "small:", "networks.small.kind", ("found 'mpl';", "Did you mean 'mlp'?")
    ),
    "no kind": Broken("kind: mlp, ", "", "small:", "networks.small.kind", ("this key is missing", "one of attention-mlp")),
    "too many tasks": Broken(
        "tasks: 2,",
        "tasks: 20,",
        "digits-2:",
        "sequences.digits-2",
        ("20 tasks of 2 classes need 40; digits has 10", "give fewer"),
    ),
    "an unknown data set": Broken(
        "dataset: digits",
        "dataset: digit",
        "digits-2:",
        "sequences.digits-2.dataset",
        ("'digit' is unknown", "Did you mean 'digits'?"),
    ),
    "more than all": Broken(
        "fraction: 0.15",
        "fraction: 1.5",
        "digits-2:",
        "sequences.digits-2.validation.fraction",
        ("found 1.5;", "less than 1"),
    ),
    "no size": Broken(
        "image_size: 32", "image_size: 0", "birds:", "datasets.birds.image_size", ("found 0;", "greater than or equal to 1")
    ),
    "other spelling": Broken(
        "channels: colour",
        "channels: color",
        "birds:",
        "datasets.birds.channels",
        ("found 'color';", "Did you mean 'colour'?"),
    ),
    "no path": Broken(
        "path: birds.tar, ", "", "birds:", "datasets.birds.path", ("this key is missing", "write 'path: ...' with text")
    ),
    "an unknown experiment": Broken(
        "EWC: ewc,",
        "EWC: ewcc,",
        "experiments: {",
        "reports.mine.comparison.experiments.EWC",
        ("'ewcc' is unknown", "Did you mean 'ewc'?"),
    ),
    "an unknown report": Broken(
        "title: Mine",
        "title: Mine\n      kind: comparisn",
        "kind: comparisn",
        "reports.mine.comparison.kind",
        ("found 'comparisn';", "Did you mean 'comparison'?"),
    ),
    "a tab": Broken(
        "  ewc:\n    like", "\tewc:\n    like", "ewc:", "found a tab", ("expected spaces", "two spaces for each tab")
    ),
    "an open brace": Broken(
        "options: {strength: 5}",
        "options: {strength: 5",
        "joint:",
        "not valid YAML",
        ("expected ',' or '}'", "mend this line"),
    ),
    "a name with a gap": Broken(
        "  ewc:\n    like",
        "  my ewc:\n    like",
        "my ewc:",
        "experiments.my ewc",
        ("found 'my ewc'", "a name is made of letters"),
    ),
    "an absent file": Broken(
        "datasets:\n", "include: [none.yaml]\ndatasets:\n", "include:", "include", ("found 'none.yaml'", "correct the name")
    ),
    "no list of files": Broken(
        "datasets:\n",
        "include: none.yaml\ndatasets:\n",
        "include:",
        "include",
        ("found 'none.yaml';", "a list of files", "write 'include: [FILE, ...]'"),
    ),
    "a module that is not there": Broken(
        "datasets:\n",
        "methods: [no.such.module]\ndatasets:\n",
        "methods:",
        "methods",
        ("'no.such.module' cannot be imported", "is it installed"),
    ),
    "nothing swept": Broken(
        "options: {strength: 5}",
        "sweep: {options.strength: []}",
        "sweep:",
        "experiments.ewc.sweep.options.strength",
        ("found [];", "a list of values"),
    ),
    "a joint learner that is none": Broken(
        "options: {strength: 5}",
        "options: {strength: 5}\n    joint: plain",
        "joint: plain",
        "experiments.ewc.joint",
        ("'plain' has method 'finetune'", "expected a joint learner"),
    ),
}


def test_the_whole_file_is_sound(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(WHOLE)
    assert set(load(tmp_path / "params.yaml").experiments) == {"plain", "ewc", "joint"}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_broken_file_is_told_with_all_that_helps(case: Broken, tmp_path: Path) -> None:
    assert WHOLE.count(case.part) == 1
    text = WHOLE.replace(case.part, case.instead)
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load(path)
    told = str(error.value)
    number = next(n for n, line in enumerate(text.split("\n"), 1) if line.strip().startswith(case.line))
    assert told.startswith(f"{path}, line {number}: {case.key}")
    assert "\n" not in told
    for words in case.said:
        assert words in told
