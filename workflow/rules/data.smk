# From sources to token rows.


rule fetch_model:
    output:
        directory("results/model/{model}"),
    log:
        "results/logs/fetch_model/{model}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        settings=lambda wildcards: plan.model(wildcards.model),
    shell:
        "python workflow/run.py fetch-model --params {params.settings:q} --output {output}"
        " 3>&2 > {log} 2>&1"


rule fetch_dataset:
    input:
        lambda wildcards: plan.dataset_files(wildcards.dataset),
    output:
        directory("results/dataset/{dataset}/raw"),
    log:
        "results/logs/fetch_dataset/{dataset}.log",
    cache: CACHED
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: plan.dataset_fetch(wildcards.dataset),
    shell:
        "python workflow/run.py fetch-dataset --params {params.settings:q} --output {output}"
        " 3>&2 > {log} 2>&1"


rule format_dataset:
    input:
        raw="results/dataset/{dataset}/raw",
    output:
        conversations="results/dataset/{dataset}/conversations.jsonl",
        run="results/dataset/{dataset}/run.json",
    log:
        "results/logs/format_dataset/{dataset}.log",
    wildcard_constraints:
        dataset=plan.fetched(),
    cache: CACHED
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: plan.dataset(wildcards.dataset),
        # Another release may read otherwise: what it finds in a shared cache must be its own.
        version=plan.version,
    shell:
        "python workflow/run.py format-dataset --params {params.settings:q} --raw {input.raw}"
        " --output {output.conversations} 3>&2 > {log} 2>&1"


rule synthesize_dataset:
    input:
        lambda wildcards: plan.catalogue_files(wildcards.dataset),
    output:
        "results/dataset/{dataset}/conversations.jsonl",
    log:
        "results/logs/synthesize_dataset/{dataset}.log",
    wildcard_constraints:
        dataset=plan.synthesized(),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: plan.dataset(wildcards.dataset),
    shell:
        "python workflow/run.py synthesize-dataset --params {params.settings:q} --output {output}"
        " 3>&2 > {log} 2>&1"


rule mix_data:
    input:
        lambda wildcards: plan.mix_inputs(wildcards.variant),
    output:
        "results/data/{variant}/conversations.jsonl",
    log:
        "results/logs/mix_data/{variant}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: plan.mix(wildcards.variant),
        parts=lambda wildcards, input: [f"--part {path}" for path in input],
    shell:
        "python workflow/run.py mix-data --params {params.settings:q} {params.parts} --output {output}"
        " 3>&2 > {log} 2>&1"


rule tokenize_data:
    input:
        conversations="results/data/{variant}/conversations.jsonl",
        model=lambda wildcards: f"results/model/{plan.variant(wildcards.variant).model}",
        templates=lambda wildcards: plan.template_files(wildcards.variant),
    output:
        tokens="results/data/{variant}/tokens.parquet",
        profile="results/data/{variant}/profile.json",
    log:
        "results/logs/tokenize_data/{variant}.log",
    conda:
        ENVIRONMENT
    threads: lambda wildcards: plan.tokenize_threads(wildcards.variant)
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: plan.tokenize(wildcards.variant),
    shell:
        "python workflow/run.py tokenize-data --params {params.settings:q}"
        " --conversations {input.conversations} --model {input.model}"
        " --output {output.tokens} --profile {output.profile} --processes {threads}"
        " 3>&2 > {log} 2>&1"


rule check_leakage:
    input:
        conversations="results/data/{variant}/conversations.jsonl",
        suites=expand("results/suite/{suite}.json", suite=plan.suite_ids),
    output:
        report(
            "results/data/{variant}/leakage.json",
            caption="../report/leakage.rst",
            category="Certificates",
            labels={"what": "leakage", "variant": "{variant}", "seed": "–"},
        ),
    log:
        "results/logs/check_leakage/{variant}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        leakage=plan.leakage(),
        suites=lambda wildcards, input: [f"--suite {path}" for path in input.suites],
    shell:
        "python workflow/run.py check-leakage --params {params.leakage:q}"
        " --conversations {input.conversations} {params.suites} --output {output}"
        " 3>&2 > {log} 2>&1"
