"""Runs in MLflow that hold exactly what their records say.

Runs are found again by their tags. A run is written once and whole: what is the same is left alone; what differs is
written anew before the old run goes, because MLflow appends to a metric's history and refuses a changed parameter.
"""

from __future__ import annotations

import getpass
import glob
import hashlib
import json
import math
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from filelock import FileLock

from lifelong.runtime import paths
from lifelong.runtime.artifacts import atomic_path, json_digest, write_result
from lifelong.runtime.errors import UserError

if TYPE_CHECKING:  # mlflow takes seconds to import
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

PREFIX = "lifelong"
VARIABLE = "MLFLOW_TRACKING_URI"
LOCK_SECONDS = 600
METRICS_A_BATCH, OTHERS_A_BATCH, CHARACTERS, NOTE_CHARACTERS = 1000, 100, 500, 5000  # what every MLflow server takes
DIGEST_CHARACTERS = 36
NOTE = "mlflow.note.content"
PARENT = "mlflow.parentRunId"
COPY = f"{PREFIX}.copy"
ARTIFACTS = Path("mlartifacts")
"""Where the artifacts of a database that is a file are."""


@dataclass(frozen=True)
class Point:
    """One entry of a metric's history."""

    key: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class Record:
    """All that one run shall hold. `key` finds the run again; the hash of the rest tells whether it still holds it.

    Attributes:
        seconds: the processor time behind it, its duration; it differs from machine to machine, so the hash leaves it out.
        files: what each artifact holds, by its name.
        pictures: what draws each artifact that is a picture, of what the other parts say; so the hash leaves them out.
        data: the digest of each file of data that was learnt from, by its path.
    """

    key: str
    name: str
    parameters: dict[str, str]
    tags: dict[str, str]
    points: tuple[Point, ...]
    seconds: float = 0
    files: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str:
        points = [(point.key, point.step, point.value) for point in self.points]
        return json_digest([self.name, self.parameters, self.tags, points, self.files, sorted(self.pictures), self.data])


@dataclass(frozen=True)
class Home:
    """An experiment of MLflow: its name and what its page says."""

    name: str
    description: str


Draw = Callable[[Path, str, dict[str, np.ndarray]], None]
"""Draws accuracy matrices [T, T], shares of 1 by their names, under a title."""


def format_json(value: Any) -> str:
    return json.dumps(value, indent=1)


def format_matrices(matrices: dict[str, np.ndarray]) -> str:
    """JSON knows no nan: no answer is null."""
    shown = {
        name: [[None if math.isnan(share) else share for share in row] for row in r.tolist()] for name, r in matrices.items()
    }
    return format_json(shown)


def public_uri(uri: str) -> str:
    """The address without user, password and query."""
    return re.sub(r"[?#].*", "", re.sub(r"^([^/]*//)(?!/).*@", r"\1", uri))


def list_points(key: str, value: float | None, step: int = 0) -> list[Point]:
    return [Point(key, float(value), step)] if value is not None and math.isfinite(value) else []


def flatten_parameters(value: Any, key: str = "") -> dict[str, str]:
    """Nested parameters as a.b.c -> text; what is not set is left out."""
    if value is None:
        return {}
    if isinstance(value, dict):
        nested = [flatten_parameters(inner, f"{key}.{name}" if key else name) for name, inner in value.items()]
        return {name: text for part in nested for name, text in part.items()}
    return {key: str(value)[:CHARACTERS]}


COMPARED = "workflowType=machine_learning&compareRunsMode=CHART"
"""What MLflow's page is asked for: its view for models that are trained, with the runs in charts side by side."""


def list_homes(uri: str) -> list[tuple[str, str]]:
    """Names and numbers of our experiments in a database that is a file, as MLflow keeps them.

    None of other stores, and none before the first run.
    """
    database = _sqlite_file(uri)
    if database is None or not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
        asked = f"select name, experiment_id from experiments where name like '{PREFIX}/%' and lifecycle_stage = 'active'"
        return [(name, str(number)) for name, number in connection.execute(f"{asked} order by name")]


def write_runs(uri: str, home: Home, owner: str, records: Sequence[Record], receipt: Path, again: str) -> None:
    """Make MLflow hold exactly these runs of their owner, the first of them above the others, and write the receipt.

    `again` tells a user what to do after a failure.
    """
    with _explained(uri, again):
        written = _synchronise(uri, home, owner, records)
    runs = {record.key: record.content for record in records}
    write_result(receipt, {"uri": public_uri(uri), "mlflow_experiment": home.name, "runs": runs})
    print(f"{owner}: {written} of {len(records)} runs written to {public_uri(uri)}", file=sys.stderr)


def _synchronise(uri: str, wanted: Home, owner: str, records: Sequence[Record]) -> int:
    """Make MLflow hold exactly these runs of their owner; returns how many had to be written."""
    from mlflow import MlflowClient

    database = _sqlite_file(uri)
    lock = paths.tracked("any").with_name(".lock")
    if database is not None:
        uri, lock = _absolute(uri, database), database.with_name(f"{database.name}.lock")
    copy = _working_copy(database)
    with _locked(lock):
        if database is not None:
            _make_database(database)
        _probe(uri)
        client = MlflowClient(tracking_uri=uri)
        home = _mlflow_experiment(client, wanted, None if database is None else ARTIFACTS.absolute().as_uri())
        runs = _runs(client, owner, copy)
        used: list[str] = []
        written, own = 0, {COPY: copy, **_commit()}
        for record in records:
            parent = {PARENT: used[0]} if used else {}
            run_id = _holding(runs, home, record)
            if run_id is None:
                run_id = _write(client, home, record, {**parent, **own})
                written += 1
            elif parent and runs[run_id].data.tags.get(PARENT) != used[0]:
                client.set_tag(run_id, PARENT, used[0])
            used.append(run_id)
        for run_id in runs.keys() - set(used):
            client.delete_run(run_id)
            if database is not None:  # MLflow only marks it as deleted, and would keep its artifacts for good
                shutil.rmtree(ARTIFACTS / run_id, ignore_errors=True)
    return written


def _holding(runs: dict[str, Run], home: str, record: Record) -> str | None:
    """The finished run that holds the record already."""
    requested = {f"{PREFIX}.key": record.key, f"{PREFIX}.content": record.content}
    for run_id, run in runs.items():
        placed = run.info.experiment_id == home and run.info.status == "FINISHED"
        if placed and requested.items() <= run.data.tags.items():
            return run_id
    return None


def _working_copy(database: Path | None) -> str:
    """Whose runs are ours: on a server those of this working copy alone, in a database inside it all there are."""
    if database is not None and database.is_relative_to(Path.cwd()):
        return "own"
    place = f"{getpass.getuser()}@{socket.gethostname()}:{Path.cwd()}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def _commit() -> dict[str, str]:
    """Tags for the commit whose code wrote a run and whether more was edited; none outside git."""

    def ask(*question: str) -> str | None:
        answer = subprocess.run(["git", *question], capture_output=True, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else None

    with suppress(FileNotFoundError):
        commit, edited = (
            ask("rev-parse", "HEAD"),
            ask("status", "--porcelain", "--untracked-files=no", "--", "src", "params*"),
        )
        if commit is not None and edited is not None:
            return {"mlflow.source.git.commit": commit, f"{PREFIX}.git.dirty": str(bool(edited)).lower()}
    return {}


def _runs(client: MlflowClient, owner: str, copy: str) -> dict[str, Run]:
    """All our runs of an owner, also where an earlier sequence of it put them."""
    homes = [home.experiment_id for home in _pages(client.search_experiments, filter_string=f"name LIKE '{PREFIX}/%'")]
    mine = f"tags.`{PREFIX}.experiment` = '{owner}' and tags.`{COPY}` = '{copy}'"
    return {run.info.run_id: run for run in _pages(client.search_runs, experiment_ids=homes, filter_string=mine)}


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    page = search(**arguments)
    yield from page
    while page.token:
        page = search(**arguments, page_token=page.token)
        yield from page


def _mlflow_experiment(client: MlflowClient, wanted: Home, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    result = client.get_experiment_by_name(wanted.name)
    if result is None:
        tags = {NOTE: wanted.description, "mlflow.experimentKind": "custom_model_development"}
        try:
            return str(client.create_experiment(wanted.name, artifacts, tags))
        except MlflowException:
            result = client.get_experiment_by_name(wanted.name)
            if result is None:  # then it was not that another writer came first
                raise
    if result.lifecycle_stage == "deleted":
        client.restore_experiment(result.experiment_id)
    return str(result.experiment_id)


def _write(client: MlflowClient, home: str, record: Record, more: dict[str, str]) -> str:
    """Write one run and finish it; nothing is left of a run that fails half-way."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    known_by = {f"{PREFIX}.{key}": record.tags[f"{PREFIX}.{key}"] for key in ("experiment", "level")}
    tags = {**known_by, f"{PREFIX}.key": record.key, f"{PREFIX}.content": record.content, **more}
    start = now - int(1000 * record.seconds)
    run_id: str = client.create_run(home, start_time=start, tags=tags, run_name=record.name).info.run_id
    try:
        for points in _batches(record.points, METRICS_A_BATCH):
            client.log_batch(run_id, metrics=[Metric(p.key, p.value, now, p.step) for p in points])
        for parameters in _batches(list(record.parameters.items()), OTHERS_A_BATCH):
            client.log_batch(run_id, params=[Param(*pair) for pair in parameters])
        for others in _batches(list(record.tags.items()), OTHERS_A_BATCH):
            client.log_batch(run_id, tags=[RunTag(*pair) for pair in others])
        client.log_inputs(run_id, [_input(path, digest) for path, digest in record.data.items()])
        with tempfile.TemporaryDirectory() as folder:
            for name, text in record.files.items():
                Path(folder, name).write_text(text)
            for name, draw in record.pictures.items():
                draw(Path(folder, name))
            client.log_artifacts(run_id, folder)
        client.set_terminated(run_id, "FINISHED", end_time=now)
    except BaseException:
        with suppress(Exception):
            client.delete_run(run_id)
        raise
    return run_id


def _input(path: str, digest: str) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"path": path})
    dataset = Dataset(name=Path(path).stem, digest=digest[:DIGEST_CHARACTERS], source_type="local", source=source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", Path(path).parent.name)])


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
    """MLflow keeps a connection for each address, so an address must mean one file whatever the working directory.

    An address cannot hold every path; one that it cannot stays relative.
    """
    from sqlalchemy.engine import make_url

    result = make_url(uri).set(database=str(file)).render_as_string(hide_password=False)
    return result if make_url(result).database == str(file) and "%" not in str(file) else uri


def _make_database(file: Path) -> None:
    """A new database is made aside: what a killed process leaves of its many tables would stop all that come later."""
    from mlflow import MlflowClient

    for left in file.parent.glob(f".{glob.escape(file.name)}.*.part*"):
        left.unlink()
    if file.exists() and file.stat().st_size:
        return
    with atomic_path(file) as aside:
        MlflowClient(tracking_uri=f"sqlite:///{os.path.relpath(aside)}").search_experiments(max_results=1)


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
