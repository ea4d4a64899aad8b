# Images: found, verified, decoded. Tasks: data sets cut into a sequence.


rule images:
    localrule: True
    input:
        PARAMS,
    output:
        update(paths.images("{dataset}")),
    params:
        fingerprint=depends("images", "dataset"),
    resources:
        **needs("images"),
    log:
        "logs/images/{dataset}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong images {wildcards.dataset} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"


rule tasks:
    localrule: True
    input:
        PARAMS,
        images=lambda w: [paths.images(name) for name in SETTINGS.sequence_datasets(w.sequence)],
    output:
        update(paths.tasks("{sequence}")),
    params:
        fingerprint=depends("tasks", "sequence"),
    resources:
        **needs("tasks"),
    log:
        "logs/tasks/{sequence}.log",
    conda:
        "../envs/lifelong.yaml"
    shell:
        "exec lifelong tasks {wildcards.sequence} --planned {params.fingerprint} --makes '{output}' > {log} 2>&1"
