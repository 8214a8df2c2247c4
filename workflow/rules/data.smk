# From sources to token rows.


rule fetch_model:
    input:
        lambda wildcards: plan.model_files(wildcards.model),
    output:
        directory(paths.MODEL),
    log:
        paths.LOG.of(rule="fetch_model", job="{model}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000, 500),
        runtime=growing(24, 8),
    params:
        settings=lambda wildcards: plan.fetch_model(wildcards.model),
    shell:
        "matinee fetch-model --params {params.settings:q} --output {output}"
        " 3>&2 > {log} 2>&1"


rule fetch_dataset:
    input:
        lambda wildcards: plan.dataset_files(wildcards.dataset),
    output:
        directory(paths.RAW),
    log:
        paths.LOG.of(rule="fetch_dataset", job="{dataset}"),
    cache: CACHED
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: plan.fetch_dataset(wildcards.dataset),
    shell:
        "matinee fetch-dataset --params {params.settings:q} --output {output}"
        " 3>&2 > {log} 2>&1"


rule format_dataset:
    input:
        raw=paths.RAW,
        tools=lambda wildcards: plan.dataset_tools(wildcards.dataset),
    output:
        conversations=paths.ROWS,
        run=f"{paths.DATASET}/run.json",
    log:
        paths.LOG.of(rule="format_dataset", job="{dataset}"),
    wildcard_constraints:
        dataset=plan.datasets(made=False),
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
        "matinee format-dataset --params {params.settings:q} --raw {input.raw}"
        " --output {output.conversations} 3>&2 > {log} 2>&1"


rule synthesize_dataset:
    input:
        lambda wildcards: plan.catalogue_files(wildcards.dataset),
    output:
        paths.ROWS,
    log:
        paths.LOG.of(rule="synthesize_dataset", job="{dataset}"),
    wildcard_constraints:
        dataset=plan.datasets(made=True),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: plan.dataset(wildcards.dataset),
    shell:
        "matinee synthesize-dataset --params {params.settings:q} --output {output}"
        " 3>&2 > {log} 2>&1"


rule mix_data:
    input:
        lambda wildcards: plan.mix_inputs(wildcards.variant),
    output:
        paths.MIXED,
    log:
        paths.LOG.of(rule="mix_data", job="{variant}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: plan.mix_data(wildcards.variant),
        parts=lambda wildcards, input: [f"--part {path}" for path in input],
    shell:
        "matinee mix-data --params {params.settings:q} {params.parts} --output {output}"
        " 3>&2 > {log} 2>&1"


rule tokenize_data:
    input:
        conversations=paths.MIXED,
        model=lambda wildcards: plan.start_model(wildcards.variant),
        templates=lambda wildcards: plan.template_files(wildcards.variant),
    output:
        tokens=paths.TOKENS,
        profile=paths.PROFILE,
    log:
        paths.LOG.of(rule="tokenize_data", job="{variant}"),
    conda:
        ENVIRONMENT
    threads: lambda wildcards: plan.tokenize_threads(wildcards.variant)
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: plan.tokenize_data(wildcards.variant),
    shell:
        "matinee tokenize-data --params {params.settings:q}"
        " --conversations {input.conversations} --model {input.model}"
        " --output {output.tokens} --profile {output.profile} --processes {threads}"
        " 3>&2 > {log} 2>&1"


rule check_leakage:
    input:
        conversations=paths.MIXED,
        suites=expand(paths.SUITE, suite=[*plan.suite_ids, *plan.development]),
    output:
        report(
            paths.LEAKAGE,
            caption="../report/leakage.rst",
            category="Certificates",
            labels={"what": "leakage", "variant": "{variant}", "seed": "–"},
        ),
    log:
        paths.LOG.of(rule="check_leakage", job="{variant}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=plan.check_leakage(),
        suites=lambda wildcards, input: [f"--suite {path}" for path in input.suites],
    shell:
        "matinee check-leakage --params {params.settings:q}"
        " --conversations {input.conversations} {params.suites} --output {output}"
        " 3>&2 > {log} 2>&1"
