# Methods that learn task after task: the stages of a task, each from the state the stage before it left.

for seeds in ["{seed}", *TOGETHER]:

    for stage, stage_kind in SETTINGS.stages().items():

        rule:
            name:
                stage if seeds == "{seed}" else f"{stage}_{list(TOGETHER).index(seeds)}"
            input:
                PARAMS,
                stage_inputs(stage, seeds),
            output:
                state=update([paths.state("{experiment}", seed, "{task}", stage) for seed in seeds.split()]),
                curve=update(
                    [
                        paths.curve(paths.state("{experiment}", seed, "{task}", stage))
                        for seed in seeds.split()
                        if stage_kind.trains
                    ]
                ),
            wildcard_constraints:
                experiment=TOGETHER.get(seeds, ALONE),
            group:
                "chain"
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
                " --device {resources.device} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule evaluate:
    input:
        PARAMS,
        evaluation_data,
        final_states,
    output:
        scores=update(paths.scores("{experiment}", "{seed}")),
        predictions=update(paths.predictions("{experiment}", "{seed}")),
    group:
        "chain"
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
        "exec lifelong evaluate {wildcards.experiment} --seed {wildcards.seed}"
        " --device {resources.device} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule choose:
    localrule: True
    input:
        PARAMS,
        lambda w: [paths.summary(name) for name in SETTINGS.experiment(w.experiment).candidates],
    output:
        update(paths.chosen("{experiment}")),
    params:
        fingerprint=depends("choose", "experiment"),
    resources:
        **needs("choose"),
    log:
        "logs/{experiment}/choose.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong choose {wildcards.experiment} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"
