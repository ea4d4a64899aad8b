# From scores to summaries, to the tables that a section keeps, to reports and to MLflow.


rule summarise:
    localrule: True
    input:
        PARAMS,
        summary_inputs,
    output:
        update(paths.summary("{experiment}")),
    params:
        fingerprint=depends("summarise", "experiment"),
    resources:
        **needs("summarise"),
    log:
        "logs/{experiment}/summarise.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong summarise {wildcards.experiment} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


for kind, made in REPORT_KINDS.items():
    if not made.measures:
        continue

    rule:
        name:
            f"measure_{kind.replace('-', '_')}"
        input:
            PARAMS,
            lambda w: report_evidence(w.report),
        output:
            update([paths.measured("{report}", suffix) for suffix in ("csv", "safetensors")[: 1 + made.evidence]]),
        params:
            fingerprint=depends("measure", "report"),
        resources:
            **needs("measure"),
        wildcard_constraints:
            report=reports_of_kind(kind),
        log:
            "logs/measured/{report}.log",
        conda:
            "../envs/lifelong.yaml"
        shell:
            "exec lifelong measure {wildcards.report} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


for section in SETTINGS.sections():

    rule:
        name:
            f"collect_{section.replace('-', '_')}"
        localrule: True
        input:
            PARAMS,
            section_evidence(section),
        output:
            update(kept_files(section)),
        params:
            section=section,
            fingerprint=stages.job_fingerprint(SETTINGS, "collect", section),
        resources:
            **needs("collect"),
        log:
            f"logs/collected/{section}.log",
        conda:
            "../envs/lifelong.yaml"
        shell:
            "exec lifelong collect {params.section} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


for kind, made in REPORT_KINDS.items():

    rule:
        name:
            f"report_{kind.replace('-', '_')}"
        localrule: True
        input:
            PARAMS,
            report_inputs,
        output:
            markdown=update(paths.report("{report}", "md")),
            tables=update([paths.report("{report}", suffix) for suffix in made.writes if suffix != "png"]),
            pictures=update(
                [
                    report(
                        paths.report("{report}", suffix),
                        caption="../report/report.rst",
                        category=paper_of,
                        subcategory=section_of,
                        labels=label_report,
                    )
                    for suffix in made.writes
                    if suffix == "png"
                ]
            ),
        params:
            fingerprint=depends("report", "report"),
        wildcard_constraints:
            report=reports_of_kind(kind),
        resources:
            **needs("report"),
        log:
            "logs/reports/{report}.log",
        conda:
            "../envs/lifelong.yaml"
        shell:
            "exec lifelong report {wildcards.report} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule track:
    localrule: True
    input:
        PARAMS,
        lambda w: paths.summary(w.experiment),
        lambda w: scores_of(w.experiment, SETTINGS.experiment(w.experiment).seeds),
    output:
        update(paths.tracked("{experiment}")),
    params:
        fingerprint=depends("track", "experiment"),
    resources:
        **needs("track"),
    log:
        "logs/{experiment}/track.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong track {wildcards.experiment} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


for section in SETTINGS.sections():
    if section in workflow._rules:
        raise WorkflowError(f"params.yaml: reports.{section}: a rule has this name already; choose another")

    rule:
        name: section
        localrule: True
        input:
            report_targets(section),
