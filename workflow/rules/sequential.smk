# Methods that learn task after task: the stages of a task, each from the state the stage before it left.


rule learn:
    input:
        stage_inputs("learn"),
    output:
        state=layout.state("{experiment}", "{seed}", "{task}", "learn"),
        curve=layout.curve(layout.state("{experiment}", "{seed}", "{task}", "learn")),
    params:
        stage="learn",
        fingerprint=lambda w: stages.stage_fingerprint(SETTINGS.experiment(w.experiment)),
    threads: 1
    resources:
        gpu=config.get("gpu", 0),
        mem_mb=1500,
    log:
        "logs/{experiment}/seed-{seed}/task-{task}/learn.log",
    benchmark:
        "logs/{experiment}/seed-{seed}/task-{task}/learn.tsv"
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong {params.stage} {wildcards.experiment} --seed {wildcards.seed} --task {wildcards.task}"
        " --threads {threads} > {log} 2>&1"


use rule learn as prune with:
    input:
        stage_inputs("prune"),
    output:
        state=layout.state("{experiment}", "{seed}", "{task}", "prune"),
        curve=layout.curve(layout.state("{experiment}", "{seed}", "{task}", "prune")),
    params:
        stage="prune",
        fingerprint=lambda w: stages.stage_fingerprint(SETTINGS.experiment(w.experiment)),
    log:
        "logs/{experiment}/seed-{seed}/task-{task}/prune.log",
    benchmark:
        "logs/{experiment}/seed-{seed}/task-{task}/prune.tsv"


use rule learn as consolidate with:
    input:
        stage_inputs("consolidate"),
    output:
        state=layout.state("{experiment}", "{seed}", "{task}", "consolidate"),
    params:
        stage="consolidate",
        fingerprint=lambda w: stages.stage_fingerprint(SETTINGS.experiment(w.experiment)),
    log:
        "logs/{experiment}/seed-{seed}/task-{task}/consolidate.log",
    benchmark:
        "logs/{experiment}/seed-{seed}/task-{task}/consolidate.tsv"


rule evaluate:
    input:
        lambda w: layout.images(SETTINGS.experiment(w.experiment).scenario.dataset),
        lambda w: layout.tasks(SETTINGS.experiment(w.experiment).scenario_name),
        final_states,
    output:
        scores=layout.scores("{experiment}", "{seed}"),
        predictions=layout.predictions("{experiment}", "{seed}"),
    params:
        fingerprint=lambda w: stages.scores_fingerprint(
            SETTINGS.experiment(w.experiment)
        ),
    threads: 1
    resources:
        gpu=config.get("gpu", 0),
        mem_mb=1500,
    log:
        "logs/{experiment}/seed-{seed}/evaluate.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong evaluate {wildcards.experiment} --seed {wildcards.seed} --threads {threads} > {log} 2>&1"
