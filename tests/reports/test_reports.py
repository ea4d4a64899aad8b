"""Reports of every kind, written from a small project trained in this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.reports import draw_report

from lifelong.data import catalog, sequences
from lifelong.params import Settings, settings
from lifelong.pipeline.evaluate import evaluate
from lifelong.pipeline.graph import final_state, stages_of
from lifelong.pipeline.run import run_stage
from lifelong.pipeline.summarise import summarise
from lifelong.reports import page
from lifelong.reports.cells import read_csv
from lifelong.reports.collect import collect, measure
from lifelong.reports.draw import draw
from lifelong.reports.figures import style
from lifelong.reports.figures.importance_density import importances
from lifelong.reports.figures.parameter_distance import moved
from lifelong.reports.results import Results
from lifelong.runtime import paths
from lifelong.runtime.artifacts import read_result, read_tensors, write_result
from lifelong.runtime.errors import UserError
from lifelong.runtime.places import RAW

PARAMS = """
sequences:
  two: {dataset: digits, kind: permuted, tasks: 2, permutation: released, validation: {fraction: 0.5, seed: 0}}
networks:
  small: {kind: mlp, hidden: [12, 6], dropout: 0.2, initialisation: truncated-normal}
  wide: {kind: mlp, hidden: [20, 6], dropout: 0.2, initialisation: truncated-normal}
training:
  short: {learning_rate: 0.1, batch_size: 64, epochs: 2}
experiments:
  finetune: {sequence: two, network: small, training: short, method: finetune, seeds: 2, joint: joint}
  anpyc:
    {sequence: two, network: small, training: short, method: anpyc,
     options: {strength: 3, importance_batch: 20, pruning: constant, prune_percent: 10}, seeds: 2, joint: joint}
  unpruned:
    {sequence: two, network: wide, training: short, method: anpyc,
     options: {strength: 5, importance_batch: 20, pruning: none}, seeds: 2, joint: joint}
  stiff:
    {sequence: two, network: wide, training: short, method: anpyc, may_diverge: true,
     options: {strength: 1.0e+30, importance_batch: 20, pruning: none}, seeds: 2, joint: joint}
  joint: {sequence: two, network: small, training: short, method: joint, seeds: 2}
reports:
  demo:
    growth:
      {kind: parameter-growth, title: Growth,
       options: {network: small, image_shape: [1, 8, 8], classes_per_task: 10, tasks: 4, claims: anpyc-figure-7a}}
    curves: {kind: accuracy-over-tasks, title: Curves, experiments: {Fine-tuning: finetune, ANPyC: anpyc, Joint: joint}}
    strength:
      {kind: sweep, title: Strengths, experiments: {ANPyC: [unpruned, anpyc, stiff], Joint: joint},
       options: {parameter: options.strength, label: Strength, scale: log, metrics: [acc, bwt]}}
    width:
      {kind: sweep, title: Widths, experiments: {ANPyC: [anpyc, unpruned]},
       options: {parameter: network.hidden.0, label: Units}}
    bars: {kind: bars, title: Bars, experiments: {Fine-tuning: finetune, Stiff: stiff}, options: {metrics: [acc, bwt]}}
    density:
      {kind: importance-density, title: Density, experiments: {without pruning: unpruned, with pruning: anpyc},
       options: {claims: anpyc-figure-9, printed: anpyc-figure-9}}
    distance: {kind: parameter-distance, title: Distance, experiments: {Fine-tuning: finetune, ANPyC: anpyc}}
    table:
      {title: Table, experiments: {Fine-tuning: finetune, ANPyC: anpyc, Joint: joint},
       options: {printed: anpyc-table-1}}
    smaller: {title: Smaller, experiments: {ANPyC: anpyc}, options: {printed: anpyc-table-1, scale: smaller}}
    mixed:
      {title: Mixed, experiments: {ANPyC: anpyc, Joint: joint},
       options: {printed: anpyc-table-1, scale: smaller, full_scale: [ANPyC]}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The settings of a project whose results are complete; its folder is the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("reports"))
        found = settings(yaml.safe_load(PARAMS))
        catalog.prepare("digits", None, paths.images("digits"), RAW, [])
        sequences.build(found.sequence("two"), {"digits": paths.images("digits")}, paths.tasks("two"))
        for experiment in found.experiments.values():
            for seed in experiment.seeds:
                for task in experiment.tasks:
                    for stage in stages_of(experiment, task):
                        run_stage(experiment, seed, task, stage)
                evaluate(experiment, seed)
        for experiment in found.experiments.values():
            summarise(experiment)
        for name, report in found.reports.items():
            if report.kind.measures:
                measure(found, found.report(name))
        collect(found, "demo")
        draw(found, "demo")
        yield found


def lines(name: str, **wanted: object) -> list[dict[str, str]]:
    found = read_csv(paths.report(f"demo/{name}", "csv"))
    return [line for line in found if all(line[key] == str(value) for key, value in wanted.items())]


def assert_mean(line: dict[str, str], values: list[float]) -> None:
    assert float(line["mean"]) == pytest.approx(np.mean(values), rel=1e-4)
    assert float(line["deviation"]) == pytest.approx(np.std(values, ddof=1), rel=1e-3, abs=1e-5)
    assert int(line["n"]) == len(values)


def test_every_figure_is_a_page_with_an_image_a_table_and_how_it_was_made(project: Settings) -> None:
    for name, report in project.reports.items():
        text = paths.report(name, "md").read_text()
        assert (
            text.startswith(f"# {report.title}\n")
            and "<summary>How these were made</summary>" in text
            and "Machine: " in text
        )
        for experiment in report.all_experiments():
            assert experiment in text
        if "png" in report.kind.writes:
            assert f"]({name.partition('/')[2]}.png)" in text and "| ---" in text
            assert paths.report(name, "png").read_bytes().startswith(b"\x89PNG")


def test_the_same_results_give_the_same_bytes(project: Settings) -> None:
    for name, report in project.reports.items():
        before = {suffix: paths.report(name, suffix).read_bytes() for suffix in ("md", *report.kind.writes)}
        draw(project, name)
        assert before == {suffix: paths.report(name, suffix).read_bytes() for suffix in before}


def test_another_scale_is_shown_and_not_judged(project: Settings) -> None:
    assert {line["verdict"] for line in lines("smaller") if line["printed_mean"]} == {"tier"}
    assert "the network, the tasks or the budget are smaller" in paths.report("demo/smaller", "md").read_text()


def test_a_row_of_the_printed_scale_is_judged_even_so(project: Settings) -> None:
    assert {(line["row"], line["verdict"] == "tier") for line in lines("mixed") if line["verdict"]} == {
        ("ANPyC", False),
        ("Joint", True),
    }
    assert "judged like a full table: ANPyC." in paths.report("demo/mixed", "md").read_text()


def test_curves_hold_the_accuracy_on_the_tasks_seen(project: Settings) -> None:
    scores = [read_result(paths.scores("anpyc", seed))["test"]["task_incremental"] for seed in (0, 1)]
    assert_mean(lines("curves", row="ANPyC", x="1")[0], [100 * r[0][0] for r in scores])
    assert_mean(lines("curves", row="ANPyC", x="2")[0], [50 * (r[1][0] + r[1][1]) for r in scores])
    assert [line["x"] for line in lines("curves", row="Joint")] == ["2"]


def test_a_sweep_stands_at_its_parameter(project: Settings) -> None:
    acc = {
        name: read_result(paths.summary(name))["test"]["task_incremental"]["acc"]["by_seed"] for name in project.experiments
    }
    at = {(line["row"], line["x"]): line for line in lines("strength", metric="acc")}
    assert set(at) == {("ANPyC", "3"), ("ANPyC", "5"), ("Joint", "")}
    assert_mean(at["ANPyC", "3"], [100 * value for value in acc["anpyc"]])
    assert_mean(at["ANPyC", "5"], [100 * value for value in acc["unpruned"]])
    assert_mean(at["Joint", ""], [100 * value for value in acc["joint"]])
    assert [line["x"] for line in lines("width")] == ["12", "20"]
    assert not lines("strength", row="Joint", metric="bwt")


def test_what_diverged_has_no_value_and_is_named(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_result(paths.scores("stiff", 0))["test"]["task_incremental"] == [[None, None], [None, None]]
    for report in ("strength", "bars"):
        assert "`stiff` (2 of 2 seeds)" in paths.report(f"demo/{report}", "md").read_text()
    assert "iverged" not in paths.report("demo/width", "md").read_text()
    crossed: list[tuple[float, ...]] = []
    monkeypatch.setattr(style, "crosses", lambda axes, places, *_: crossed.append(tuple(places)))
    draw(project, "demo/strength")
    assert crossed == [(1e30,), (), (1e30,), ()]
    crossed.clear()
    draw(project, "demo/bars")
    assert crossed == [(1,), (1,)]


def test_a_row_with_a_diverged_seed_says_so_beside_the_printed_one(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("results", "logs"):
        if Path(place).exists():
            shutil.copytree(place, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    scores = read_result(paths.scores("anpyc", 0))
    nothing = {protocol: [[None, None], [None, None]] for protocol in scores["test"]}
    write_result(paths.scores("anpyc", 0), scores | {"test": nothing, "validation": nothing, "initial": [None, None]})
    draw_report(project, "demo/table")
    found = [(line["metric"], line["mean"], line["verdict"]) for line in lines("table", row="ANPyC") if line["verdict"]]
    assert found == [(metric, "", "diverged") for metric in ("acc", "bwt", "fwt_joint")]
    assert "bwt" not in {line["metric"] for line in lines("table", row="Joint")}
    text = paths.report("demo/table", "md").read_text()
    left = 100 * np.mean(read_result(paths.scores("anpyc", 1))["test"]["task_incremental"][1])
    assert f"ANPyC diverged with 1 of 2 seeds; the others have ACC {left:.2f}," in text
    told = page.Numbers({"table": project.report("demo/table")}, Results(project, "demo"))
    assert told.cell("table", "ANPyC", "acc") == "diverged"


def test_density_is_of_the_network_that_the_first_task_left(project: Settings) -> None:
    """ANPyC's importance of that task is what its own stage wrote; EWC's is the mean of every image's expected square."""
    experiment = project.experiment("anpyc")
    found = importances(experiment, 0)
    state, _ = read_tensors(final_state(experiment, 0, 0), "state")
    written = {key: state[key] for key in state if key.startswith("importance/")}
    names = ["hidden.0.weight", "hidden.0.bias", "hidden.1.weight", "hidden.1.bias"]
    np.testing.assert_allclose(
        found["ANPyC"], np.concatenate([written[f"importance/{n}"].ravel() for n in names]), rtol=1e-6
    )
    images, _ = read_tensors(paths.images("digits"), "images")
    tasks, _ = read_tensors(paths.tasks("two"), "tasks")
    x = images["train_images"][tasks["task-00.train"]].reshape(-1, 64)[:, tasks["task-00.permutation"]] / 255
    w1, b1, w2, b2, w3, b3 = (
        torch.from_numpy(state[f"network/{n}"]).double() for n in [*names, "heads.0.weight", "heads.0.bias"]
    )
    b2.requires_grad_()
    total = torch.zeros_like(b2)
    energies = torch.zeros_like(b2)
    for image in torch.from_numpy(x):
        logits = w3 @ torch.relu(w2 @ torch.relu(w1 @ image + b1) + b2) + b3
        log_p = torch.log_softmax(logits, 0)
        for c in range(10):
            (gradient,) = torch.autograd.grad(log_p[c], b2, retain_graph=True)
            total += log_p[c].exp().detach() * gradient**2
        (gradient,) = torch.autograd.grad((logits**2).sum(), b2)
        energies += gradient.abs()
    np.testing.assert_allclose(found["EWC"][-6:], (total / len(x)).numpy(), rtol=1e-4)
    np.testing.assert_allclose(found["MAS"][-6:], (energies / len(x)).numpy(), rtol=1e-4)
    densities = lines("density", row="EWC (with pruning)", metric="density")
    assert sum(float(line["mean"]) for line in densities) / 50 == pytest.approx(1, rel=1e-4)


def test_distance_is_between_the_first_and_the_last_state(project: Settings) -> None:
    experiment = project.experiment("finetune")
    first, last = (read_tensors(final_state(experiment, 1, task), "state")[0] for task in (0, 1))
    found = moved(experiment, 1)
    for layer, one in enumerate(found):
        a, b = (state[f"network/hidden.{layer}.weight"].astype(float) for state in (first, last))
        assert one["change_sum"] == pytest.approx(abs(a - b).sum())
        assert one["change_mean"] == pytest.approx(abs(a - b).sum() / a.size)
        expected = ((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2) ** 0.5
        assert one["frechet_gaussian"] == pytest.approx(expected)
    values = [moved(experiment, seed)[1]["change_mean"] for seed in (0, 1)]
    assert_mean(lines("distance", row="Fine-tuning", metric="change_mean", x="2")[0], values)
    with pytest.raises(UserError, match="'joint' leaves one network alone"):
        moved(project.experiment("joint"), 0)


@pytest.fixture
def numbers(project: Settings) -> page.Numbers:
    reports = {name.partition("/")[2]: report for name, report in project.reports.items()}
    return page.Numbers(reports, Results(project, "demo"))


def rendered(numbers: page.Numbers, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/t.md").write_text(text)
    monkeypatch.setattr(page, "PAPER", tmp_path)
    return page.rendered("t", numbers, "Title")


def test_a_page_takes_its_numbers_from_the_reports(
    numbers: page.Numbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [
        "title",
        "cell('table', 'ANPyC', 'acc')",
        "cell('curves', 'ANPyC', 'accuracy', x=2)",
        "image('bars')",
        "link('table')",
    ]
    found = rendered(numbers, "|".join(f"{{{{ {one} }}}}" for one in asked), tmp_path, monkeypatch).split("|")
    acc = read_result(paths.summary("anpyc"))["test"]["task_incremental"]["acc"]
    expected = f"{100 * acc['mean']:.2f} ± {100 * acc['deviation']:.2f}"
    assert found == ["Title", expected, expected, "![Bars](bars.png)", "[Table](table.md)"]
    assert numbers.has("table", "ANPyC", "acc")
    assert not numbers.has("table", "ANPyC", "lead")


def test_side_by_side_and_counts(numbers: page.Numbers) -> None:
    text = numbers.side_by_side("table", "table", ["acc", "bwt"])
    body = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert [line[:2] for line in body[2:]] == [
        ["Fine-tuning", "ACC"],
        ["Fine-tuning", "BWT"],
        ["ANPyC", "ACC"],
        ["ANPyC", "BWT"],
        ["Joint", "ACC"],
    ]
    assert body[2][2] == "84.47 ± 1.85 †"
    assert body[4][2] == "98.14 ± 1.03"
    assert body[4][3:5] == body[4][5:7] == [numbers.cell("table", "ANPyC", "acc"), numbers.verdict("table", "ANPyC", "acc")]
    judged = [line for line in lines("table") if line["verdict"]]
    doubted = [line for line in judged if line["doubt"]]
    assert numbers.doubts("table") == len(doubted) > 0
    assert numbers.counts("table") == f"cells: {len(judged) - len(doubted)} not judged"  # two seeds
    assert numbers.counts("growth") == "claims: 4 supported"
    assert "HAT grows faster than ANPyC" in numbers.claims("growth")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("\n{{ cell('table', 'ANPyc', 'acc') }}", r"pages/t\.md, line 2: .*row 'ANPyc', metric 'acc'.*Did you mean 'ANPyC'"),
        ("{{ cell('tabel', 'ANPyC', 'acc') }}", "line 1: the section has no report 'tabel'.*Did you mean 'table'"),
        ("{{ cell('curves', 'ANPyC', 'accuracy', x=9) }}", "at x = 9"),
        ("{{ verdict('curves', 'ANPyC', 'accuracy') }}", "has no printed value"),
        ("{{ printed('curves', 'ANPyC', 'accuracy') }}", "printed: row 'ANPyC'.*has no printed value"),
        ("{{ fits('curves', 'ANPyC', 'accuracy') }}", "fits: row 'ANPyC'.*has no printed value"),
        ("{{ tally('table', 'ANPyC') }}", "has no cell of row 'ANPyC, task told', metric 'acc_difference'"),
        ("{{ cels('x') }}", "'cels' is undefined"),
        ("{{ cell('x') }}", "line 1: .*missing"),
        ("a\n{% if %}", r"pages/t\.md, line 2"),
    ],
)
def test_what_a_template_asks_in_vain_is_named(
    numbers: page.Numbers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        rendered(numbers, template, tmp_path, monkeypatch)
