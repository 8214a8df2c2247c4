# From token rows to a merged model.


rule train_adapter:
    input:
        tokens="results/data/{variant}/tokens.parquet",
        model=lambda wildcards: f"results/model/{plan.variant(wildcards.variant).model}",
        # Hours of training on leaked data would be worth nothing: look first. Ancient, because a
        # new scenario calls for a new look, but not for a new training.
        leakage=ancient("results/data/{variant}/leakage.json"),
    output:
        adapter=directory("results/training/{variant}/s{seed}/adapter"),
        metrics="results/training/{variant}/s{seed}/metrics.json",
        state="results/training/{variant}/s{seed}/trainer_state.json",
        curve=report(
            "results/training/{variant}/s{seed}/loss.svg",
            caption="../report/loss.rst",
            category="Training",
            labels={"variant": "{variant}", "seed": "{seed}"},
        ),
        picture="results/training/{variant}/s{seed}/loss.png",
        run="results/training/{variant}/s{seed}/run.json",
    log:
        "results/logs/train_adapter/{variant}-s{seed}.log",
    conda:
        ENVIRONMENT
    threads: GPU_THREADS
    resources:
        gpu=lambda wildcards: plan.devices(wildcards.variant),
        mem_mb=growing(32000),
        runtime=growing(720),
    params:
        settings=lambda wildcards: plan.train(wildcards.variant, wildcards.seed),
        # Snakemake deletes a job's declared outputs before it runs again; these must survive.
        checkpoints=lambda wildcards: plan.checkpoints(
            wildcards.variant, wildcards.seed
        ),
        folder="results/training/{variant}/s{seed}",
    shell:
        "python workflow/run.py train-adapter --params {params.settings:q} --model {input.model}"
        " --tokens {input.tokens} --checkpoints {params.checkpoints} --output {params.folder}"
        " --gpus {resources.gpu} 3>&2 > {log} 2>&1"


rule merge_model:
    input:
        adapter="results/training/{variant}/s{seed}/adapter",
        metrics="results/training/{variant}/s{seed}/metrics.json",
        base=lambda wildcards: f"results/model/{plan.variant(wildcards.variant).model}",
        tokens="results/data/{variant}/tokens.parquet",
        templates=lambda wildcards: plan.template_files(wildcards.variant),
    output:
        model=directory("results/merged/{variant}/s{seed}/model"),
        certificate=report(
            "results/merged/{variant}/s{seed}/merge.json",
            caption="../report/merge.rst",
            category="Certificates",
            labels={"what": "merge", "variant": "{variant}", "seed": "{seed}"},
        ),
        run="results/merged/{variant}/s{seed}/run.json",
    log:
        "results/logs/merge_model/{variant}-s{seed}.log",
    conda:
        ENVIRONMENT
    threads: GPU_THREADS
    resources:
        gpu=1,
        mem_mb=growing(32000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: plan.merge(wildcards.variant),
        folder="results/merged/{variant}/s{seed}",
    shell:
        "python workflow/run.py merge-model --params {params.settings:q} --base {input.base}"
        " --adapter {input.adapter} --tokens {input.tokens} --output {params.folder}"
        " --gpus {resources.gpu} 3>&2 > {log} 2>&1"


rule export_gguf:
    input:
        model="results/merged/{variant}/s{seed}/model",
    output:
        folder=directory("results/merged/{variant}/s{seed}/gguf"),
    log:
        "results/logs/export_gguf/{variant}-s{seed}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(16000),
        runtime=growing(60),
    params:
        settings=plan.gguf(),
    shell:
        "python workflow/run.py export-gguf --params {params.settings:q} --model {input.model}"
        " --output {output.folder} 3>&2 > {log} 2>&1"


rule publish_model:
    input:
        # Of the certificate, so that nothing is published without its proof.
        certificate="results/merged/{variant}/s{seed}/merge.json",
        model="results/merged/{variant}/s{seed}/model",
    output:
        record="results/published/{variant}/s{seed}/publish.json",
    log:
        "results/logs/publish_model/{variant}-s{seed}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        settings=lambda wildcards: plan.publish(wildcards.variant, wildcards.seed),
    shell:
        "python workflow/run.py publish-model --params {params.settings:q} --model {input.model}"
        " --output {output.record} 3>&2 > {log} 2>&1"
