# SKILL: features once for each backbone and data set; every task a job of its own; packets, banks, routing.


wildcard_constraints:
    backbone=r"[\w-]+",
    tier=r"[\w-]+",
    collective=r"[\w-]+",
    head=r"[\w-]+",
    agents=r"\d+",
    agent=r"\d+",
    learner=r"[\w-]+",


rule skill_features:
    input:
        layout.images("{dataset}"),
    output:
        [layout.features("{backbone}", "{tier}", "{dataset}", split) for split in ("train", "test")],
    params:
        fingerprint=lambda w: stages.features_fingerprint(SETTINGS, w.backbone, w.tier),
    threads: 1
    resources:
        gpu=GPU,
        device=DEVICE,
        mem_mb=3000,
    log:
        "logs/skill/features/{backbone}/{tier}/{dataset}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill features {wildcards.backbone} {wildcards.tier} {wildcards.dataset}"
        " --threads {threads} --device {resources.device} > {log} 2>&1"


rule skill_teach:
    input:
        lambda w: skill_features(w.collective, stages.splits_taught(SETTINGS.skill, w.collective), [int(w.task)]),
    output:
        layout.taught("{collective}", "{seed}", "{task}"),
        layout.taught_times("{collective}", "{seed}", "{task}"),
    params:
        fingerprint=lambda w: stages.teaching_fingerprint(SETTINGS.skill, w.collective),
    threads: 1
    resources:
        mem_mb=2000,
    log:
        "logs/skill/{collective}/seed-{seed}/task-{task}/teach.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill teach {wildcards.collective} --seed {wildcards.seed} --task {wildcards.task}"
        " --threads {threads} > {log} 2>&1"


rule skill_teach_biased:
    input:
        images=lambda w: layout.images(task_dataset(w)),
        features=lambda w: skill_features(w.collective, ["train"], [int(w.task)]),
    output:
        layout.biased("{collective}", "{seed}", "{task}", "{head}"),
        layout.biased_times("{collective}", "{seed}", "{task}", "{head}"),
    params:
        fingerprint=lambda w: stages.biased_fingerprint(SETTINGS.skill, w.collective, w.head),
    threads: 1
    resources:
        gpu=GPU,
        device=DEVICE,
        mem_mb=3000,
    log:
        "logs/skill/{collective}/seed-{seed}/task-{task}/teach-{head}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill teach-biased {wildcards.collective} --seed {wildcards.seed} --task {wildcards.task}"
        " --head {wildcards.head} --threads {threads} --device {resources.device} > {log} 2>&1"


rule skill_head2toe:
    input:
        images=lambda w: layout.images(task_dataset(w)),
        biased=lambda w: layout.biased(
            w.collective, w.seed, w.task, SETTINGS.skill.collective(w.collective).head2toe.head
        ),
    output:
        layout.head2toe("{collective}", "{seed}", "{task}"),
    params:
        fingerprint=lambda w: stages.head2toe_fingerprint(SETTINGS.skill, w.collective),
    threads: 1
    resources:
        mem_mb=3000,
    log:
        "logs/skill/{collective}/seed-{seed}/task-{task}/head2toe.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill head2toe {wildcards.collective} --seed {wildcards.seed} --task {wildcards.task}"
        " --threads {threads} > {log} 2>&1"


for collective, wanted in SETTINGS.skill.collectives.items():
    tasks = range(len(SETTINGS.skill.tasks(wanted.sequence)))

    rule:
        name:
            f"skill_pack_{collective.replace('-', '_')}"
        input:
            taught=layout.taught(collective, "{seed}", "{task}"),
            biased=[layout.biased(collective, "{seed}", "{task}", head) for head in stages.biased_heads(wanted)],
        output:
            [layout.packet(collective, "{seed}", "{task}", variant) for variant in wanted.variants],
        params:
            collective=collective,
            fingerprint=stages.packing_fingerprint(wanted),
        log:
            f"logs/skill/{collective}/seed-{{seed}}/task-{{task}}/pack.log",
        conda:
            "../envs/lifelong.yaml"
        shell:
            "exec lifelong skill pack {params.collective} --seed {wildcards.seed} --task {wildcards.task} > {log} 2>&1"

    for head in stages.biased_heads(wanted):

        rule:
            name:
                f"skill_judge_{collective}_{head}".replace("-", "_")
            input:
                images=[layout.images(entry.dataset) for entry in SETTINGS.skill.tasks(wanted.sequence)],
                heads=[layout.biased(collective, "{seed}", task, head) for task in tasks],
            output:
                [layout.biased_predictions(collective, "{seed}", task, head) for task in tasks],
            params:
                collective=collective,
                head=head,
                fingerprint=stages.biased_fingerprint(SETTINGS.skill, collective, head),
            threads: 1
            resources:
                gpu=GPU,
                device=DEVICE,
                mem_mb=3000,
            log:
                f"logs/skill/{collective}/seed-{{seed}}/judge-{head}.log",
            conda:
                "../envs/lifelong.yaml"
            shell:
                "exec lifelong skill judge-biased {params.collective} --seed {wildcards.seed}"
                " --head {params.head} --threads {threads} --device {resources.device} > {log} 2>&1"


rule skill_receive:
    input:
        packets=lambda w: collective_packets(w.collective, w.seed),
        features=lambda w: skill_features(w.collective, ["train"]),
    output:
        layout.bank("{collective}", "{seed}", "{agents}", "{agent}"),
    params:
        fingerprint=lambda w: stages.receiving_fingerprint(SETTINGS.skill, w.collective),
    log:
        "logs/skill/{collective}/seed-{seed}/agents-{agents}/agent-{agent}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill receive {wildcards.collective} --seed {wildcards.seed} --agents {wildcards.agents}"
        " --agent {wildcards.agent} > {log} 2>&1"


rule skill_baseline:
    input:
        lambda w: baseline_data(w.collective),
    output:
        layout.baseline("{collective}", "{seed}", "{learner}"),
    params:
        fingerprint=lambda w: stages.baseline_fingerprint(SETTINGS.skill, w.collective, w.learner),
    threads: 1
    resources:
        gpu=GPU,
        device=DEVICE,
        mem_mb=lambda w: 6000 if trains_backbone(w.collective) else 2000,
    log:
        "logs/skill/{collective}/seed-{seed}/baselines/{learner}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill baseline {wildcards.collective} --seed {wildcards.seed} --learner {wildcards.learner}"
        " --threads {threads} --device {resources.device} > {log} 2>&1"


rule skill_reuse:
    input:
        packets=lambda w: collective_packets(w.collective, w.seed),
        predictions=layout.collective_predictions("{collective}", "{seed}"),
        features=lambda w: skill_features(w.collective, ["train", "test"]),
    output:
        layout.reused("{collective}", "{seed}"),
    params:
        fingerprint=lambda w: stages.reuse_fingerprint(SETTINGS.skill, w.collective),
    threads: 1
    resources:
        mem_mb=3000,
    log:
        "logs/skill/{collective}/seed-{seed}/reuse.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill reuse {wildcards.collective} --seed {wildcards.seed} > {log} 2>&1"


rule skill_track:
    input:
        lambda w: collective_evidence(w.collective) + collective_baselines(w.collective),
    output:
        layout.tracked_collective("{collective}"),
    params:
        uri=public_uri(SETTINGS.tracked_at()),
        fingerprint=lambda w: stages.collective_tracking_fingerprint(SETTINGS.skill, w.collective),
    log:
        "logs/skill/{collective}/track.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill track {wildcards.collective} > {log} 2>&1"


rule skill_evaluate:
    input:
        packets=lambda w: collective_packets(w.collective, w.seed),
        features=lambda w: skill_features(w.collective, ["train", "test"]),
        judged=lambda w: [
            layout.biased_predictions(w.collective, w.seed, task, head)
            for task in collective_tasks(w)
            for head in stages.biased_heads(SETTINGS.skill.collective(w.collective))
        ],
    output:
        layout.collective_scores("{collective}", "{seed}"),
        layout.collective_predictions("{collective}", "{seed}"),
    params:
        fingerprint=lambda w: stages.routing_fingerprint(SETTINGS.skill, w.collective),
    threads: 1
    resources:
        mem_mb=4000,
    log:
        "logs/skill/{collective}/seed-{seed}/evaluate.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong skill evaluate {wildcards.collective} --seed {wildcards.seed} > {log} 2>&1"
