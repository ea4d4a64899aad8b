# Images: found, verified, decoded. Tasks: a data set cut into a sequence.


rule images:
    output:
        layout.images("{dataset}"),
    params:
        fingerprint=lambda w: stages.images_fingerprint(SETTINGS, w.dataset),
    log:
        "logs/images/{dataset}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong images {wildcards.dataset} > {log} 2>&1"


rule tasks:
    input:
        images=lambda w: layout.images(SETTINGS.scenario(w.scenario).dataset),
    output:
        layout.tasks("{scenario}"),
    params:
        fingerprint=lambda w: stages.tasks_fingerprint(SETTINGS.scenario(w.scenario)),
    log:
        "logs/tasks/{scenario}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong tasks {wildcards.scenario} > {log} 2>&1"
