"""From the files of an experiment to MLflow: one run for the experiment and, nested in it, one for each seed.

All experiments of a scenario share one MLflow experiment, so its methods stand side by side; `DESCRIPTION` says what a
run holds. Runs are found again by their tags. A run is written once and whole: what is the same is left alone; what
differs is written anew before the old run goes, because MLflow appends to a metric's history and refuses a changed
parameter.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from lifelong import layout
from lifelong.artifacts import file_digest, json_digest, missing, read_info, read_json, write_json
from lifelong.choice import with_choice
from lifelong.config import Experiment, Settings
from lifelong.errors import UserError
from lifelong.metrics import acc, bwt, matrix
from lifelong.stages import final_state, stages_of

if TYPE_CHECKING:  # mlflow takes seconds to import
    from mlflow import MlflowClient
    from mlflow.entities import Run

PREFIX = "lifelong"
VARIABLE = "MLFLOW_TRACKING_URI"
LOCK_SECONDS = 600
METRICS_A_BATCH, OTHERS_A_BATCH, CHARACTERS, NOTE_CHARACTERS = 1000, 100, 500, 5000  # what every MLflow server takes
NOTE = "mlflow.note.content"
PARENT = "mlflow.parentRunId"

DESCRIPTION = f"""\
One run for each experiment (means over its seeds) and, nested in it, one for each seed. The means alone:
`tags.{PREFIX}.level = 'experiment'`

Metrics are shares of 1, of the test images unless they say `validation`:

- `acc/...`, `bwt/...` at step i: of the tasks up to i; the last is the result
- `fwt_gem/...`, `fwt_joint/...`: the result
- `on_task/j_...` at step i: accuracy on task j after learning task i
- `learning/...`: the learning curves of a seed, by epoch over all its tasks
- `std/...`: deviation of each result over the seeds (n - 1), and their number n
"""

Value = Callable[[dict[str, Any]], float | None]
"""Picks from a metric of the summary (mean, deviation, n, by_seed) the value that a run shows."""


@dataclass(frozen=True)
class Point:
    """One entry of a metric's history."""

    key: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Record:
    """All that one run shall hold. `key` finds the run again; the hash of the rest tells whether it still holds it."""

    key: str
    name: str
    parameters: dict[str, str]
    tags: dict[str, str]
    points: tuple[Point, ...]

    @property
    def content(self) -> str:
        points = [(point.key, point.step, point.value) for point in self.points]
        return json_digest([self.name, self.parameters, self.tags, points])


@dataclass(frozen=True)
class Home:
    """An experiment of MLflow: its name and what its page says."""

    name: str
    description: str


def public_uri(uri: str) -> str:
    """The address without user, password and query."""
    return re.sub(r"[?#].*", "", re.sub(r"^([^/]*//)(?!/).*@", r"\1", uri))


def track(settings: Settings, experiment: Experiment) -> None:
    """Bring the experiment's runs in MLflow in line with its files, and write the receipt.

    Raises:
        UserError: a file is missing or older than params.yaml, or MLflow cannot be reached or refuses.
    """
    home = Home(f"{PREFIX}/{experiment.scenario_name}", DESCRIPTION)
    again = (
        f"The results are safe in {layout.RESULTS / experiment.name}; mend this, then run `lifelong track {experiment.name}`"
    )
    bring(settings.tracked_at(), home, experiment.name, _records(experiment), layout.tracked(experiment.name), again)


def bring(uri: str, home: Home, owner: str, records: Sequence[Record], receipt: Path, again: str) -> None:
    """Make MLflow hold exactly these runs of their owner, the first of them above the others, and write the receipt.

    `again` tells a user what to do after a failure.
    """
    with _explained(uri, again):
        written = _synchronise(uri, home, owner, records)
    runs = {record.key: record.content for record in records}
    write_json(receipt, {"uri": public_uri(uri), "mlflow_experiment": home.name, "runs": runs})
    print(f"{owner}: {written} of {len(records)} runs written to {public_uri(uri)}", file=sys.stderr)


# From files to records


def _records(experiment: Experiment) -> list[Record]:
    """The experiment's own record, then those of its seeds; options chosen from a grid as they were chosen."""
    experiment = with_choice(experiment)
    summary = _summary(experiment)
    scores = [read_json(layout.scores(experiment.name, seed)) for seed in experiment.seeds]
    own = Record(
        key=experiment.name,
        name=experiment.name,
        parameters=flat({**experiment.parameters(), "experiment": experiment.name, "seeds": list(experiment.seeds)}),
        tags={**_tags(experiment, "experiment"), NOTE: _note(summary, scores, lambda values: values["mean"])},
        points=(
            *_results(summary, scores, lambda values: values["mean"]),
            *_deviations(summary),
            Point("std/n", len(scores)),
        ),
    )
    return [own, *(_seed_record(experiment, summary, scores[k], k) for k in range(len(scores)))]


def _summary(experiment: Experiment) -> dict[str, Any]:
    path = layout.summary(experiment.name)
    summary: dict[str, Any] = read_json(path)
    wanted = {"seeds": list(experiment.seeds), "joint": experiment.joint, "parameters": experiment.parameters()}
    for part, value in wanted.items():
        if json_digest(summary.get(part)) != json_digest(value):
            raise UserError(
                f"{path}: found {part} {summary.get(part)}; params.yaml has {value}; `snakemake {path}` makes it anew"
            )
    return summary


def _seed_record(experiment: Experiment, summary: dict[str, Any], scores: dict[str, Any], position: int) -> Record:
    seed = experiment.seeds[position]
    states = [final_state(experiment, seed, task) for task in experiment.tasks]
    files = [layout.scores(experiment.name, seed), layout.predictions(experiment.name, seed), *states]
    for path in files:
        if not path.is_file():
            raise missing(path)
    made_by = read_info(states[-1], "state")

    def own(values: dict[str, Any]) -> float | None:
        value: float | None = values["by_seed"][position]
        return value

    return Record(
        key=f"{experiment.name}/seed-{seed}",
        name=f"{experiment.name} seed {seed}",
        parameters=flat({**experiment.parameters(), "experiment": experiment.name, "seed": seed}),
        tags={
            **_tags(experiment, "seed"),
            f"{PREFIX}.fingerprint": made_by["fingerprint"],
            **{f"{PREFIX}.version.{library}": version for library, version in made_by["versions"].items()},
            **{f"sha256/{path.relative_to(files[0].parent)}": file_digest(path) for path in files},
            NOTE: _note(summary, [scores], own),
        },
        points=(*_results(summary, [scores], own), *_learning(experiment, seed)),
    )


def _results(summary: dict[str, Any], scores: Sequence[dict[str, Any]], value: Value) -> list[Point]:
    """Every metric of the summary, and R (the mean of the scores given) column by column."""
    points: list[Point] = []
    for split, protocol, metrics in _parts(summary):
        r = _mean_matrix(scores, split, protocol)
        for name, so_far in (("acc", acc), ("bwt", bwt)):
            for step in range(len(r) - 1):
                points += known(_key(split, protocol, name), so_far(r[: step + 1, : step + 1]), step)
        for name, values in metrics.items():
            # What has no history stands at step 0: MLflow then shows a bar, not a line of one point.
            step = len(r) - 1 if name in ("acc", "bwt") else 0
            points += known(_key(split, protocol, name), value(values), step)
        if split == "test":
            digits = len(str(len(r) - 1))
            cells = np.argwhere(~np.isnan(r)).tolist()
            points += [Point(f"on_task/{j:0{digits}}_{protocol}", float(r[i, j]), i) for i, j in cells]
    return points


def _deviations(summary: dict[str, Any]) -> list[Point]:
    return [
        point
        for split, protocol, metrics in _parts(summary)
        for name, values in metrics.items()
        for point in known("std/" + _key(split, protocol, name).replace("/", "_"), values["deviation"])
    ]


def _learning(experiment: Experiment, seed: int) -> list[Point]:
    """The learning curves of all stages that train, epoch after epoch over the whole sequence of tasks."""
    points: list[Point] = []
    epoch = 0
    for task in experiment.tasks:
        for stage in stages_of(experiment, task):
            path = layout.curve(layout.state(experiment.name, seed, task, stage))
            for line in path.read_text().splitlines() if path.is_file() else ():
                row = json.loads(line)
                for name in sorted(row.keys() - {"fit", "epoch"}):
                    points += known(f"learning/{name}", row[name], epoch)
                epoch += 1
    return points


def _parts(summary: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(split, protocol, metrics) of a summary."""
    for split in ("test", "validation"):
        for protocol in ("task_incremental", "class_incremental"):
            yield split, protocol, summary[split][protocol]


def _mean_matrix(scores: Sequence[dict[str, Any]], split: str, protocol: str) -> np.ndarray:
    mean: np.ndarray = np.mean([matrix(one[split][protocol]) for one in scores], axis=0)
    return mean


def _key(split: str, protocol: str, name: str) -> str:
    """What is measured comes first, for MLflow cuts titles short; what stands before the slash is a section there."""
    return f"{name}/{protocol}" if split == "test" else f"{split}/{name}_{protocol}"


def known(key: str, value: float | None, step: int = 0) -> list[Point]:
    return [Point(key, float(value), step)] if value is not None and math.isfinite(value) else []


def _tags(experiment: Experiment, level: str) -> dict[str, str]:
    """`level` lets a user of the page ask for the means alone."""
    joint = {f"{PREFIX}.joint": experiment.joint} if experiment.joint else {}
    return {f"{PREFIX}.experiment": experiment.name, f"{PREFIX}.level": level, **joint}


def flat(value: Any, key: str = "") -> dict[str, str]:
    """Nested parameters as a.b.c -> text; what is not set is left out."""
    if value is None:
        return {}
    if isinstance(value, dict):
        nested = [flat(inner, f"{key}.{name}" if key else name) for name, inner in value.items()]
        return {name: text for part in nested for name, text in part.items()}
    return {key: str(value)[:CHARACTERS]}


def _note(summary: dict[str, Any], scores: Sequence[dict[str, Any]], value: Value) -> str:
    """The results on the test images in percent, which MLflow shows as the description of a run."""
    lines: list[str] = []
    tables: list[str] = []
    for split, protocol, metrics in _parts(summary):
        r = _mean_matrix(scores, split, protocol)
        if split != "test" or np.isnan(r).all():
            continue
        title = protocol.replace("_", "-").capitalize()
        known = {name: share for name, values in metrics.items() if (share := value(values)) is not None}
        results = ", ".join(f"{name} {_percent(share)}" for name, share in known.items())
        lines.append(f"- {title}, in percent: {results}")
        rows = [["after", *(f"on task {j}" for j in range(len(r)))], ["---"] * (len(r) + 1)]
        rows += [[f"task {i}", *map(_percent, row)] for i, row in enumerate(r) if not np.isnan(row).all()]
        tables.append(f"{title} accuracy\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows))
    whole = "\n\n".join(["\n".join(lines), *tables])
    return whole if len(whole) <= NOTE_CHARACTERS else lines[0]


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.1f}"


# From records to MLflow


def _synchronise(uri: str, wanted: Home, owner: str, records: Sequence[Record]) -> int:
    """Make MLflow hold exactly these runs of their owner; returns how many had to be written."""
    from mlflow import MlflowClient

    database = _sqlite_file(uri)
    lock = layout.tracked("any").with_name(".lock")
    if database is not None:
        uri, lock = _absolute(uri, database), database.with_name(f"{database.name}.lock")
    with _locked(lock):
        _probe(uri)
        client = MlflowClient(tracking_uri=uri)
        home = _mlflow_experiment(client, wanted, None if database is None else Path("mlartifacts").absolute().as_uri())
        runs = _runs(client, owner)
        used: list[str] = []
        written = 0
        for record in records:
            parent = {PARENT: used[0]} if used else {}
            run_id = _holding(runs, home, record)
            if run_id is None:
                run_id = _write(client, home, record, parent)
                written += 1
            elif parent and runs[run_id].data.tags.get(PARENT) != used[0]:
                client.set_tag(run_id, PARENT, used[0])
            used.append(run_id)
        for run_id in runs.keys() - set(used):
            client.delete_run(run_id)
    return written


def _holding(runs: dict[str, Run], home: str, record: Record) -> str | None:
    """The finished run that holds the record already."""
    wanted = {f"{PREFIX}.key": record.key, f"{PREFIX}.content": record.content}
    for run_id, run in runs.items():
        placed = run.info.experiment_id == home and run.info.status == "FINISHED"
        if placed and wanted.items() <= run.data.tags.items():
            return run_id
    return None


def _runs(client: MlflowClient, owner: str) -> dict[str, Run]:
    """All our runs of an owner, also where an earlier scenario of it put them."""
    homes = [home.experiment_id for home in _pages(client.search_experiments, filter_string=f"name LIKE '{PREFIX}/%'")]
    mine = f"tags.`{PREFIX}.experiment` = '{owner}'"
    return {run.info.run_id: run for run in _pages(client.search_runs, experiment_ids=homes, filter_string=mine)}


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    page = search(**arguments)
    yield from page
    while page.token:
        page = search(**arguments, page_token=page.token)
        yield from page


def _mlflow_experiment(client: MlflowClient, wanted: Home, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(wanted.name)
    if found is None:
        tags = {NOTE: wanted.description, "mlflow.experimentKind": "custom_model_development"}
        try:
            return str(client.create_experiment(wanted.name, artifacts, tags))
        except MlflowException:
            found = client.get_experiment_by_name(wanted.name)
            if found is None:  # then it was not that another writer came first
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _write(client: MlflowClient, home: str, record: Record, parent: dict[str, str]) -> str:
    """Write one run and finish it; nothing is left of a run that fails half-way."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    known_by = {f"{PREFIX}.{key}": record.tags[f"{PREFIX}.{key}"] for key in ("experiment", "level")}
    tags = {**known_by, f"{PREFIX}.key": record.key, f"{PREFIX}.content": record.content, **parent}
    run_id: str = client.create_run(home, start_time=now, tags=tags, run_name=record.name).info.run_id
    try:
        for points in _batches(record.points, METRICS_A_BATCH):
            client.log_batch(run_id, metrics=[Metric(p.key, p.value, now, p.step) for p in points])
        for parameters in _batches(list(record.parameters.items()), OTHERS_A_BATCH):
            client.log_batch(run_id, params=[Param(*pair) for pair in parameters])
        for others in _batches(list(record.tags.items()), OTHERS_A_BATCH):
            client.log_batch(run_id, tags=[RunTag(*pair) for pair in others])
        client.set_terminated(run_id, "FINISHED", end_time=now)
    except BaseException:
        with suppress(Exception):
            client.delete_run(run_id)
        raise
    return run_id


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


# The way there


@contextmanager
def _explained(uri: str, again: str) -> Iterator[None]:
    """Settings of MLflow for a short job, and its failures in our words."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own: 7, which takes minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it would print user and password too
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        where = VARIABLE if os.environ.get(VARIABLE) else "tracking_uri in params.yaml"
        raise UserError(
            f"{where} is {public_uri(uri)}; MLflow could not write there: {_without_secrets(str(error), uri)}\n"
            f"Expected: a running server (http://host:5000) or a database (sqlite:///mlflow.db). {again} again"
        ) from None


def _without_secrets(text: str, uri: str) -> str:
    """The text on one line, without what an address may hold beside the place."""
    text = text.replace(uri, public_uri(uri))
    user = re.search(r"^[^/]*//(?!/)(.*)@", uri)
    query = re.search(r"[?](.*)", uri)
    for secret in (user and user[1], user and user[1].partition(":")[2], query and query[1]):
        text = text.replace(secret, "***") if secret else text
    return " ".join(text.split())[:CHARACTERS]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time: a new database is made by one process, and no run is written twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=LOCK_SECONDS):
        yield


def _sqlite_file(uri: str) -> Path | None:
    from sqlalchemy.engine import make_url

    if not uri.startswith("sqlite"):
        return None
    file = make_url(uri).database
    if not file or file == ":memory:":
        raise UserError(f"{uri}: a database in memory is gone when the command ends; expected e.g. sqlite:///mlflow.db")
    return Path(file).absolute()


def _absolute(uri: str, file: Path) -> str:
    """MLflow keeps a connection for each address, so an address must mean one file whatever the working directory."""
    from sqlalchemy.engine import make_url

    return make_url(uri).set(database=str(file)).render_as_string(hide_password=False)


def _probe(uri: str) -> None:
    """Fail at once where a database does not answer; MLflow itself would try for over a minute."""
    import sqlalchemy
    from mlflow.store.db.db_types import DATABASE_ENGINES

    if re.split(r"[+:]", uri, maxsplit=1)[0] in DATABASE_ENGINES:
        engine = sqlalchemy.create_engine(uri)
        try:
            sqlalchemy.inspect(engine).get_table_names()
        finally:
            engine.dispose()
