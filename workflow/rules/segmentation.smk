# Segmentation whose classes come in steps: the stages of a step, each from the state the stage before it left.


wildcard_constraints:
    learner=r"[\w-]+",
    step=r"\d+",
    data=r"[\w-]+",


rule segmentation_images:
    output:
        layout.segmentation_images("{data}"),
    params:
        fingerprint=lambda w: stages.segmentation_images_fingerprint(SETTINGS, w.data),
    log:
        "logs/segmentation/images/{data}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong segmentation images {wildcards.data} > {log} 2>&1"


ruleorder: segmentation_images > images


for stage in SEGMENTATION_STAGES:

    rule:
        name:
            f"segmentation_{stage}"
        input:
            segmentation_inputs(stage),
        output:
            state=layout.segmentation_state("{learner}", "{seed}", "{step}", stage),
            curve=(
                layout.curve(layout.segmentation_state("{learner}", "{seed}", "{step}", stage))
                if stage in ("slow", "fast")
                else []
            ),
        params:
            stage=stage,
            fingerprint=lambda w: stages.segmentation_fingerprint(SETTINGS, w.learner),
        threads: 1
        resources:
            gpu=GPU,
            device=DEVICE,
            mem_mb=2500,
        log:
            f"logs/segmentation/{{learner}}/seed-{{seed}}/step-{{step}}/{stage}.log",
        conda:
            "../envs/lifelong.yaml"
        shell:
            "exec lifelong segmentation {params.stage} {wildcards.learner} --seed {wildcards.seed}"
            " --step {wildcards.step} --threads {threads} --device {resources.device} > {log} 2>&1"


rule segmentation_evaluate:
    input:
        segmentation_data,
        segmentation_finals,
    output:
        layout.segmentation_scores("{learner}", "{seed}"),
    params:
        fingerprint=lambda w: stages.segmentation_fingerprint(SETTINGS, w.learner),
    threads: 1
    resources:
        gpu=GPU,
        device=DEVICE,
        mem_mb=2500,
    log:
        "logs/segmentation/{learner}/seed-{seed}/evaluate.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong segmentation evaluate {wildcards.learner} --seed {wildcards.seed}"
        " --threads {threads} --device {resources.device} > {log} 2>&1"
