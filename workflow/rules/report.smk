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


rule compare:
    input:
        lambda w: [
            layout.summary(experiment)
            for experiment in SETTINGS.comparison(f"{w.section}/{w.table}").experiments.values()
        ],
    output:
        markdown=report(
            layout.report("{section}/{table}", "md"),
            caption="../report/comparison.rst",
            category="Comparisons",
        ),
        table=layout.report("{section}/{table}", "csv"),
        metrics=layout.report("{section}/{table}", "json"),
    params:
        fingerprint=lambda w: stages.comparison_fingerprint(SETTINGS.comparison(f"{w.section}/{w.table}")),
    log:
        "logs/compare/{section}-{table}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong compare {wildcards.section}/{wildcards.table} > {log} 2>&1"


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

    rule:
        name: section
        input:
            report_targets(section),


rule demo:
    input:
        report_targets("digits") if "digits" in SETTINGS.sections() else [],
