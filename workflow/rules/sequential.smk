# Methods that learn task after task: the stages of a task, each from the state the stage before it left.

for stage, stage_kind in STAGES.items():

    rule:
        name:
            stage
        input:
            stage_inputs(stage),
        output:
            state=layout.state("{experiment}", "{seed}", "{task}", stage),
            curve=layout.curve(layout.state("{experiment}", "{seed}", "{task}", stage)) if stage_kind.trains else [],
        params:
            stage=stage,
            fingerprint=lambda w: stages.stage_fingerprint(SETTINGS.experiment(w.experiment)),
        threads: 1
        resources:
            gpu=GPU,
            device=DEVICE,
            mem_mb=1500,
        log:
            f"logs/{{experiment}}/seed-{{seed}}/task-{{task}}/{stage}.log",
        conda:
            "../envs/lifelong.yaml"
        shell:
            "exec lifelong {params.stage} {wildcards.experiment} --seed {wildcards.seed} --task {wildcards.task}"
            " --threads {threads} --device {resources.device} > {log} 2>&1"


rule evaluate:
    input:
        lambda w: ancient(layout.images(SETTINGS.experiment(w.experiment).scenario.dataset)),
        lambda w: layout.tasks(SETTINGS.experiment(w.experiment).scenario_name),
        final_states,
    output:
        scores=layout.scores("{experiment}", "{seed}"),
        predictions=layout.predictions("{experiment}", "{seed}"),
    params:
        fingerprint=lambda w: stages.scores_fingerprint(SETTINGS.experiment(w.experiment)),
    threads: 1
    resources:
        gpu=GPU,
        device=DEVICE,
        mem_mb=1500,
    log:
        "logs/{experiment}/seed-{seed}/evaluate.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong evaluate {wildcards.experiment} --seed {wildcards.seed} --threads {threads}"
        " --device {resources.device} > {log} 2>&1"


rule choose:
    input:
        lambda w: [layout.summary(name) for name in SETTINGS.experiment(w.experiment).candidates],
    output:
        layout.chosen("{experiment}"),
    params:
        fingerprint=lambda w: stages.choice_fingerprint(SETTINGS.experiment(w.experiment)),
    log:
        "logs/{experiment}/choose.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong choose {wildcards.experiment} > {log} 2>&1"
