# The graph of stages. `snakemake TARGET`: demo (the default), each section of the reports in params.yaml, all.
import os
import sys
import time

from snakemake.exceptions import WorkflowError

from lifelong import layout, stages
from lifelong.config import load
from lifelong.config.methods import STAGES
from lifelong.config.reports import REPORT_KINDS
from lifelong.config.segmentation import SEGMENTATION_STAGES
from lifelong.errors import UserError
from lifelong.mlflow_runs import public_uri
from lifelong.supervision import UNDER_SNAKEMAKE, clear_dead_lock, failures


try:
    SETTINGS = load()
except UserError as error:
    raise WorkflowError(str(error))

STARTED = time.time()
clear_dead_lock()
os.environ[UNDER_SNAKEMAKE] = str(os.getpid())


onerror:
    print(failures(STARTED), file=sys.stderr)


wildcard_constraints:
    dataset=r"[\w-]+",
    scenario=r"[\w-]+",
    experiment=r"[\w-]+",
    seed=r"\d+",
    task=r"\d+",


rule all:
    input:
        [layout.report(name, "md") for name in SETTINGS.reports],
        [layout.tracked(name) for name in SETTINGS.experiments],
        [layout.tracked_collective(name) for name in SETTINGS.shown_collectives()],


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/sequential.smk"
include: "workflow/rules/skill.smk"
include: "workflow/rules/segmentation.smk"
include: "workflow/rules/report.smk"


rule demo:
    default_target: True
    input:
        [report_targets(section) for section in ("digits", "skill-demo") if section in SETTINGS.sections()],
