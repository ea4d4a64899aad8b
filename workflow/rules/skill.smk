# SKILL: features once for each backbone and data set; every task a job of its own; packets, banks, routing.


wildcard_constraints:
    backbone=NAME_PATTERN,
    tier=NAME_PATTERN,
    collective=NAME_PATTERN,
    head=NAME_PATTERN,
    agents=r"\d+",
    agent=r"\d+",


rule skill_features:
    input:
        PARAMS,
        paths.images("{dataset}"),
    output:
        update([paths.features("{backbone}", "{tier}", "{dataset}", split) for split in ("train", "test")]),
    params:
        fingerprint=depends("features", "backbone", "tier"),
    threads: 1
    resources:
        **needs("features"),
    log:
        "logs/skill/features/{backbone}/{tier}/{dataset}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill features {wildcards.backbone} {wildcards.tier} {wildcards.dataset}"
        " --device {resources.device} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule skill_teach:
    input:
        PARAMS,
        lambda w: skill_features(w.collective, graph.splits_taught(SETTINGS.skill, w.collective), [int(w.task)]),
    output:
        update(paths.taught("{collective}", "{seed}", "{task}")),
        update(paths.taught_times("{collective}", "{seed}", "{task}")),
    group:
        "task"
    params:
        fingerprint=depends("teach", "collective"),
    threads: 1
    resources:
        **needs("teach"),
    log:
        "logs/skill/{collective}/seed-{seed}/task-{task}/teach.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill teach {wildcards.collective} --seed {wildcards.seed} --task {wildcards.task}"
        " --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule skill_teach_biased:
    input:
        PARAMS,
        images=lambda w: paths.images(task_dataset(w)),
        features=lambda w: skill_features(w.collective, ["train"], [int(w.task)]),
    output:
        update(paths.biased("{collective}", "{seed}", "{task}", "{head}")),
        update(paths.biased_times("{collective}", "{seed}", "{task}", "{head}")),
    group:
        "task"
    params:
        fingerprint=depends("teach-biased", "collective", "head"),
    threads: 1
    resources:
        **needs("teach-biased"),
    log:
        "logs/skill/{collective}/seed-{seed}/task-{task}/teach-{head}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill teach-biased {wildcards.collective} --seed {wildcards.seed} --task {wildcards.task}"
        " --head {wildcards.head} --device {resources.device}"
        " --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule skill_head2toe:
    input:
        PARAMS,
        images=lambda w: paths.images(task_dataset(w)),
        biased=lambda w: paths.biased(
            w.collective, w.seed, w.task, SETTINGS.skill.collective(w.collective).head2toe.head
        ),
    output:
        update(paths.head2toe("{collective}", "{seed}", "{task}")),
    group:
        "task"
    params:
        fingerprint=depends("head2toe", "collective"),
    threads: 1
    resources:
        **needs("head2toe"),
    log:
        "logs/skill/{collective}/seed-{seed}/task-{task}/head2toe.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill head2toe {wildcards.collective} --seed {wildcards.seed} --task {wildcards.task}"
        " --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


for collective, wanted in SETTINGS.skill.collectives.items():
    tasks = range(len(SETTINGS.skill.tasks(wanted.sequence)))

    rule:
        name:
            f"skill_pack_{collective.replace('-', '_')}"
        input:
            PARAMS,
            taught=paths.taught(collective, "{seed}", "{task}"),
            biased=[paths.biased(collective, "{seed}", "{task}", head) for head in graph.biased_heads(wanted)],
        output:
            update([paths.packet(collective, "{seed}", "{task}", variant) for variant in wanted.variants]),
        group:
            "task"
        params:
            collective=collective,
            fingerprint=stages.job_fingerprint(SETTINGS, "pack", collective),
        resources:
            **needs("pack"),
        log:
            f"logs/skill/{collective}/seed-{{seed}}/task-{{task}}/pack.log",
        conda:
            "../envs/lifelong.yaml"
        shell:
            "exec lifelong skill pack {params.collective} --seed {wildcards.seed} --task {wildcards.task}"
            " --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"

    for head in graph.biased_heads(wanted):

        rule:
            name:
                f"skill_judge_{collective}_{head}".replace("-", "_")
            input:
                PARAMS,
                images=[paths.images(entry.dataset) for entry in SETTINGS.skill.tasks(wanted.sequence)],
                heads=[paths.biased(collective, "{seed}", task, head) for task in tasks],
            output:
                update([paths.biased_predictions(collective, "{seed}", task, head) for task in tasks]),
            params:
                collective=collective,
                head=head,
                fingerprint=stages.job_fingerprint(SETTINGS, "judge-biased", collective, head),
            threads: 1
            resources:
                **needs("judge-biased"),
            log:
                f"logs/skill/{collective}/seed-{{seed}}/judge-{head}.log",
            conda:
                "../envs/lifelong.yaml"
            shell:
                "exec lifelong skill judge-biased {params.collective} --seed {wildcards.seed}"
                " --head {params.head} --device {resources.device}"
                " --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule skill_receive:
    localrule: True
    input:
        PARAMS,
        packets=lambda w: collective_packets(w.collective, w.seed),
        features=lambda w: skill_features(w.collective, ["train"]),
    output:
        update(paths.bank("{collective}", "{seed}", "{agents}", "{agent}")),
    params:
        fingerprint=depends("receive", "collective"),
    resources:
        **needs("receive"),
    log:
        "logs/skill/{collective}/seed-{seed}/agents-{agents}/agent-{agent}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill receive {wildcards.collective} --seed {wildcards.seed} --agents {wildcards.agents}"
        " --agent {wildcards.agent} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule skill_reuse:
    input:
        PARAMS,
        packets=lambda w: collective_packets(w.collective, w.seed),
        predictions=paths.collective_predictions("{collective}", "{seed}"),
        features=lambda w: skill_features(w.collective, ["train", "test"]),
    output:
        update(paths.reused("{collective}", "{seed}")),
    params:
        fingerprint=depends("reuse", "collective"),
    threads: 1
    resources:
        **needs("reuse"),
    log:
        "logs/skill/{collective}/seed-{seed}/reuse.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill reuse {wildcards.collective} --seed {wildcards.seed}"
        " --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule skill_track:
    localrule: True
    input:
        PARAMS,
        lambda w: collective_evidence(w.collective),
    output:
        update(paths.tracked_collective("{collective}")),
    params:
        fingerprint=depends("track-collective", "collective"),
    resources:
        **needs("track-collective"),
    log:
        "logs/skill/{collective}/track.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill track {wildcards.collective} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule skill_evaluate:
    input:
        PARAMS,
        packets=lambda w: collective_packets(w.collective, w.seed),
        features=lambda w: skill_features(w.collective, ["train", "test"]),
        judged=lambda w: [
            paths.biased_predictions(w.collective, w.seed, task, head)
            for task in collective_tasks(w)
            for head in graph.biased_heads(SETTINGS.skill.collective(w.collective))
        ],
    output:
        update(paths.collective_scores("{collective}", "{seed}")),
        update(paths.collective_predictions("{collective}", "{seed}")),
    params:
        fingerprint=depends("route", "collective"),
    threads: 1
    resources:
        **needs("route"),
    log:
        "logs/skill/{collective}/seed-{seed}/evaluate.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill evaluate {wildcards.collective} --seed {wildcards.seed}"
        " --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"
