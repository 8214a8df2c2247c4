# From token rows to a merged model.

# Snakemake deletes a temporary output when all that reads it is done.
MERGED_MODEL = directory(paths.MERGED_MODEL)
if plan.configuration.export.keep == "adapters":
    MERGED_MODEL = temp(MERGED_MODEL)


rule train_adapter:
    input:
        tokens=lambda wildcards: plan.tokens(wildcards.variant),
        model=lambda wildcards: plan.start_model(wildcards.variant),
        # Hours of training on leaked data would be worth nothing: look first. Ancient, because a
        # new scenario calls for a new look, but not for a new training.
        leakage=ancient(
            lambda wildcards: paths.LEAKAGE.of(variant=plan.rows_of(wildcards.variant))
        ),
    output:
        adapter=directory(paths.ADAPTER),
        metrics=paths.METRICS,
        state=paths.TRAINER_STATE,
        curve=report(
            f"{paths.TRAINING}/loss.svg",
            caption="../report/loss.rst",
            category="Training",
            labels={"variant": "{variant}", "seed": "{seed}"},
        ),
        picture=f"{paths.TRAINING}/loss.png",
        run=paths.TRAINING_RUN,
    log:
        paths.LOG.of(rule="train_adapter", job="{variant}-s{seed}"),
    wildcard_constraints:
        variant=plan.pattern({variant.id for variant, _ in plan.trainings()}),
    conda:
        ENVIRONMENT
    threads: GPU_THREADS
    resources:
        gpu=lambda wildcards: plan.variant(wildcards.variant).training.devices,
        gpu_model=gpu_model,
        mem_mb=growing(8000, 2000),
        runtime=growing(120, 50),
    params:
        settings=lambda wildcards: plan.train_adapter(wildcards.variant, wildcards.seed),
        # Snakemake deletes a job's declared outputs before it runs again; these must survive.
        checkpoints=lambda wildcards: plan.checkpoints(
            wildcards.variant, wildcards.seed
        ),
        folder=paths.TRAINING,
    shell:
        "matinee train-adapter --params {params.settings:q} --model {input.model}"
        " --tokens {input.tokens} --checkpoints {params.checkpoints} --output {params.folder}"
        " --gpus {resources.gpu} 3>&2 > {log} 2>&1"


if plan.sweep:

    rule choose_variant:
        input:
            plan.choosing(),
            plan.candidates(
                paths.ADAPTER, paths.METRICS, paths.TRAINER_STATE, paths.TRAINING_RUN
            ),
        output:
            [directory(path) for path in plan.chosen(paths.ADAPTER)],
            plan.chosen(paths.METRICS, paths.TRAINER_STATE, paths.TRAINING_RUN),
            choice=paths.CHOICE.of(variant=plan.sweep.variant),
        log:
            paths.LOG.of(rule="choose_variant", job=plan.sweep.variant),
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(1000),
            runtime=growing(10),
        params:
            settings=plan.choose_variant(),
            results=RESULTS,
        shell:
            "matinee choose-variant --params {params.settings:q} --results {params.results}"
            " --output {output.choice} 3>&2 > {log} 2>&1"


rule merge_model:
    input:
        adapter=paths.ADAPTER,
        metrics=paths.METRICS,
        base=lambda wildcards: plan.start_model(wildcards.variant),
        tokens=lambda wildcards: plan.tokens(wildcards.variant),
        templates=lambda wildcards: plan.template_files(wildcards.variant),
    output:
        model=MERGED_MODEL,
        certificate=report(
            paths.CERTIFICATE,
            caption="../report/merge.rst",
            category="Certificates",
            labels={"what": "merge", "variant": "{variant}", "seed": "{seed}"},
        ),
        run=f"{paths.MERGED}/run.json",
    log:
        paths.LOG.of(rule="merge_model", job="{variant}-s{seed}"),
    conda:
        ENVIRONMENT
    threads: GPU_THREADS
    resources:
        gpu=1,
        gpu_model=gpu_model,
        mem_mb=growing(8000, 4000),
        runtime=growing(12, 4),
    params:
        settings=lambda wildcards: plan.merge_model(wildcards.variant),
        folder=paths.MERGED,
    shell:
        "matinee merge-model --params {params.settings:q} --base {input.base}"
        " --adapter {input.adapter} --tokens {input.tokens} --output {params.folder}"
        " --gpus {resources.gpu} 3>&2 > {log} 2>&1"


rule export_gguf:
    input:
        model=paths.MERGED_MODEL,
    output:
        folder=directory(paths.GGUF),
    log:
        paths.LOG.of(rule="export_gguf", job="{variant}-s{seed}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000, 1000),
        runtime=growing(12, 4),
    params:
        settings=plan.export_gguf(),
    shell:
        "matinee export-gguf --params {params.settings:q} --model {input.model}"
        " --output {output.folder} 3>&2 > {log} 2>&1"


rule publish_model:
    input:
        # Of the certificate, so that nothing is published without its proof.
        certificate=paths.CERTIFICATE,
        model=paths.MERGED_MODEL,
        gguf=lambda wildcards: plan.published_gguf(wildcards.variant, wildcards.seed),
    output:
        record=paths.PUBLISHED,
    log:
        paths.LOG.of(rule="publish_model", job="{variant}-s{seed}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(24, 8),
    params:
        settings=lambda wildcards: plan.publish_model(wildcards.variant, wildcards.seed),
        gguf=lambda wildcards, input: f"--gguf {input.gguf}" if input.gguf else "",
    shell:
        "matinee publish-model --params {params.settings:q} --model {input.model}"
        " {params.gguf} --output {output.record} 3>&2 > {log} 2>&1"
