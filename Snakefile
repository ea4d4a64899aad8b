# The graph of stages. `snakemake TARGET`: demo (the default), each section of the reports in params.yaml, all.
import os
import re
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

if "reports" in config:  # a folder: there, and what git keeps in reports/ stays as it is
    os.environ |= {"LIFELONG_REPORTS": str(config["reports"])}

from lifelong.runtime import paths
from lifelong.pipeline import graph, stages
from lifelong.pipeline.freshness import describe_other_devices, describe_stale, settle_times
from lifelong.params import load
from lifelong.params.networks import layers_kind
from lifelong.params.reports import PAPERS, REPORT_KINDS
from lifelong.params.schema import PARAMS_FILE
from lifelong.params.sections import NAME_PATTERN
from lifelong.pipeline.targets import DEMO
from lifelong.runtime.cluster import cancel_left_jobs, count_target_jobs, replace_jobstep, show_reasons
from lifelong.runtime.errors import UserError
from lifelong.runtime.gpus import GPUS, JOBS_PER_GPU, count_gpus
from lifelong.runtime.scheduling import look_again_when_limited
from lifelong.runtime.supervision import LOOKING, ONE_JOB, UNDER_SNAKEMAKE, claim_folder, failures, release_folder

look_again_when_limited()
if workflow.remote_exec:
    replace_jobstep()
else:
    show_reasons()

# Where params.yaml is: as `--config params=FILE` says, else in the working directory, else beside this file. Jobs read it too.
if "params" in config or not PARAMS_FILE.exists():
    os.environ |= {"LIFELONG_PARAMS": str(config.get("params", Path(str(workflow.current_basedir)) / PARAMS_FILE))}
PARAMS = os.environ.get("LIFELONG_PARAMS", str(PARAMS_FILE))  # an input of every rule: what is asked for

try:
    SETTINGS = load(Path(PARAMS))
except UserError as error:
    raise WorkflowError(str(error))


report: "workflow/report/front.rst"


STARTED = time.time()
if workflow.is_main_process:
    looking, at_work = LOOKING.intersection(sys.argv), claim_folder()
    if at_work and not looking:
        raise WorkflowError(f"snakemake runs in this folder already ({at_work}); wait until it has ended, or end it")
    if not looking and (left := cancel_left_jobs()):
        print(f"cancelled {len(left)} SLURM jobs that a killed Snakemake had left here", file=sys.stderr)
    if not at_work:
        found = settle_times(SETTINGS, Path(PARAMS))
        told = describe_stale(found.stale) + describe_other_devices(found.cards, gpu=bool(config.get("gpu")))
        print(told, file=sys.stderr, end="")
    if looking:
        release_folder()
elif count_target_jobs() == 1:
    os.environ[ONE_JOB] = "1"
os.environ[UNDER_SNAKEMAKE] = str(os.getpid())
# Jobs find the `lifelong` of this environment, on other machines too, whether or not it was activated.
os.environ |= {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])}


onerror:
    if "lifelong" not in workflow.output_settings.log_handler_settings:  # which shows them itself
        print(failures(STARTED), file=sys.stderr)


wildcard_constraints:
    dataset=NAME_PATTERN,
    sequence=NAME_PATTERN,
    experiment=NAME_PATTERN,
    seed=r"\d+",
    task=r"\d+",


rule all:
    localrule: True
    input:
        [paths.report(name, "md") for name in SETTINGS.reports],
        [paths.tracked(name) for name in SETTINGS.experiments],
        [paths.tracked_collective(name) for name in SETTINGS.shown_collectives()],


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/sequential.smk"
include: "workflow/rules/skill.smk"
include: "workflow/rules/report.smk"


rule demo:
    default_target: True
    localrule: True
    input:
        [demo_targets(name) for name in DEMO.values()],
