# Methods that learn task after task: the stages of a task, each from the state the stage before it left.

for seeds in ["{seed}", *TOGETHER]:

    for stage, stage_kind in SETTINGS.stages().items():

        rule:
            name:
                stage if seeds == "{seed}" else f"{stage}_{list(TOGETHER).index(seeds)}"
            input:
                stage_inputs(stage, seeds),
            output:
                state=[paths.state("{experiment}", seed, "{task}", stage) for seed in seeds.split()],
                curve=[
                    paths.curve(paths.state("{experiment}", seed, "{task}", stage))
                    for seed in seeds.split()
                    if stage_kind.trains
                ],
            wildcard_constraints:
                experiment=TOGETHER.get(seeds, ALONE),
            params:
                stage=stage,
                seeds=" ".join(f"--seed {seed}" for seed in seeds.split()),
                fingerprint=lambda w, stage=stage: stages.stage_fingerprint(SETTINGS.experiment(w.experiment), stage),
            threads: 1
            resources:
                **needs("stage"),
            log:
                f"logs/{{experiment}}/seed-{'-'.join(seeds.split())}/task-{{task}}/{stage}.log",
            conda:
                "../envs/lifelong.yaml"
            shell:
                "exec lifelong {params.stage} {wildcards.experiment} {params.seeds} --task {wildcards.task}"
                " --threads {threads} --device {resources.device} --planned {params.fingerprint} > {log} 2>&1"


rule evaluate:
    input:
        evaluation_data,
        final_states,
    output:
        scores=paths.scores("{experiment}", "{seed}"),
        predictions=paths.predictions("{experiment}", "{seed}"),
    params:
        fingerprint=depends("evaluate", "experiment"),
    threads: 1
    resources:
        **needs("evaluate"),
    log:
        "logs/{experiment}/seed-{seed}/evaluate.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong evaluate {wildcards.experiment} --seed {wildcards.seed} --threads {threads}"
        " --device {resources.device} --planned {params.fingerprint} > {log} 2>&1"


rule choose:
    input:
        lambda w: [paths.summary(name) for name in SETTINGS.experiment(w.experiment).candidates],
    output:
        paths.chosen("{experiment}"),
    params:
        fingerprint=depends("choose", "experiment"),
    log:
        "logs/{experiment}/choose.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong choose {wildcards.experiment} --planned {params.fingerprint} > {log} 2>&1"
