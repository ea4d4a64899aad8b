# Methods that learn task after task: the stages of a task, each from the state the stage before it left.

for seeds in ["{seed}", *TOGETHER]:

    for stage, stage_kind in STAGES.items():

        rule:
            name:
                stage if seeds == "{seed}" else f"{stage}_{list(TOGETHER).index(seeds)}"
            input:
                stage_inputs(stage, seeds),
            output:
                state=[layout.state("{experiment}", seed, "{task}", stage) for seed in seeds.split()],
                curve=[
                    layout.curve(layout.state("{experiment}", seed, "{task}", stage))
                    for seed in seeds.split()
                    if stage_kind.trains
                ],
            wildcard_constraints:
                experiment=TOGETHER.get(seeds, ALONE),
            params:
                stage=stage,
                seeds=" ".join(f"--seed {seed}" for seed in seeds.split()),
                fingerprint=lambda w: stages.stage_fingerprint(SETTINGS.experiment(w.experiment)),
            threads: 1
            resources:
                gpu=GPU,
                device=DEVICE,
                mem_mb=1500,
            log:
                f"logs/{{experiment}}/seed-{'-'.join(seeds.split())}/task-{{task}}/{stage}.log",
            conda:
                "../envs/lifelong.yaml"
            shell:
                "exec lifelong {params.stage} {wildcards.experiment} {params.seeds} --task {wildcards.task}"
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
