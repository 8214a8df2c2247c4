# Every subject runs every suite; generating, parsing and scoring are separate stages.


rule prepare_suite:
    input:
        lambda wildcards: plan.suite_files(wildcards.suite),
    output:
        "results/suite/{suite}.json",
    log:
        "results/logs/prepare_suite/{suite}.log",
    # A mistake in a scenario should be known before anything long begins.
    priority: 100
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=lambda wildcards: plan.suite(wildcards.suite),
    shell:
        "python workflow/run.py prepare-suite --params {params.settings:q} --output {output}"
        " 3>&2 > {log} 2>&1"


rule run_scenarios:
    input:
        suite="results/suite/{suite}.json",
        model=lambda wildcards: plan.subjects[wildcards.subject].model or [],
        templates=lambda wildcards: plan.subject_templates(wildcards.subject),
        fixtures=lambda wildcards: plan.fixture_files(wildcards.suite),
    output:
        "results/evaluation/{subject}/{suite}/parts/{part}.jsonl",
    log:
        "results/logs/run_scenarios/{subject}-{suite}-{part}.log",
    # The longest way through the workflow leads over training: tests of start models can wait.
    priority: -1
    conda:
        ENVIRONMENT
    threads: GPU_THREADS
    resources:
        gpu=lambda wildcards: plan.gpus(wildcards.subject),
        mem_mb=growing(32000),
        runtime=growing(240),
    params:
        settings=lambda wildcards: plan.run(
            wildcards.subject, wildcards.suite, wildcards.part
        ),
        model=lambda wildcards, input: f"--model {input.model}" if input.model else "",
    shell:
        "python workflow/run.py run-scenarios --params {params.settings:q} --suite {input.suite}"
        " {params.model} --gpus {resources.gpu} --output {output} 3>&2 > {log} 2>&1"


rule parse_transcripts:
    input:
        suite="results/suite/{suite}.json",
        parts=lambda wildcards: plan.parts(wildcards.subject, wildcards.suite),
    output:
        "results/evaluation/{subject}/{suite}/transcripts.jsonl",
    log:
        "results/logs/parse_transcripts/{subject}-{suite}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: plan.parse(wildcards.subject),
        parts=lambda wildcards, input: [f"--part {path}" for path in input.parts],
    shell:
        "python workflow/run.py parse-transcripts --params {params.settings:q} --suite {input.suite}"
        " {params.parts} --output {output} 3>&2 > {log} 2>&1"


rule score_scenarios:
    input:
        suite="results/suite/{suite}.json",
        transcripts="results/evaluation/{subject}/{suite}/transcripts.jsonl",
    output:
        "results/evaluation/{subject}/{suite}/verdicts.jsonl",
    log:
        "results/logs/score_scenarios/{subject}-{suite}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: plan.parse(wildcards.subject),
    shell:
        "python workflow/run.py score-scenarios --params {params.settings:q} --suite {input.suite}"
        " --transcripts {input.transcripts} --output {output} 3>&2 > {log} 2>&1"
