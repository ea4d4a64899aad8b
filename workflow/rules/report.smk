# From scores to summaries, tables and MLflow.


rule summarise:
    input:
        summary_inputs,
    output:
        layout.summary("{experiment}"),
    params:
        fingerprint=lambda w: stages.summary_fingerprint(SETTINGS.experiment(w.experiment)),
    log:
        "logs/{experiment}/summarise.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong summarise {wildcards.experiment} > {log} 2>&1"


for kind, made in REPORT_KINDS.items():

    rule:
        name:
            f"report_{kind.replace('-', '_')}"
        input:
            report_inputs,
        output:
            markdown=report(
                layout.report("{report}", "md"),
                caption="../report/report.rst",
                category="Reports",
            ),
            others=[layout.report("{report}", suffix) for suffix in made.writes],
        params:
            fingerprint=lambda w: stages.report_fingerprint(SETTINGS.report(w.report)),
        wildcard_constraints:
            report=reports_of_kind(kind),
        log:
            "logs/reports/{report}.log",
        conda:
            "../envs/lifelong.yaml"
        shell:
            "exec lifelong report {wildcards.report} > {log} 2>&1"


rule track:
    input:
        lambda w: layout.summary(w.experiment),
        lambda w: scores_of(w.experiment, SETTINGS.experiment(w.experiment).seeds),
    output:
        layout.tracked("{experiment}"),
    params:
        uri=public_uri(SETTINGS.tracked_at()),
        fingerprint=stages.tracking_fingerprint(),
    log:
        "logs/{experiment}/track.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong track {wildcards.experiment} > {log} 2>&1"


for section in SETTINGS.sections():
    if section in workflow._rules:
        raise WorkflowError(f"params.yaml: reports.{section}: a rule has this name already; choose another")

    rule:
        name: section
        input:
            report_targets(section),
