# Every subject runs every suite; scoring again needs no model.


rule prepare_suite:
    input:
        lambda wildcards: plan.suite_files(wildcards.suite),
    output:
        suite=paths.SUITE,
        floor=paths.FLOOR,
    log:
        paths.LOG.of(rule="prepare_suite", job="{suite}"),
    # A mistake in a scenario should be known before anything long begins.
    priority: 100
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=lambda wildcards: plan.prepare_suite(wildcards.suite),
    shell:
        "matinee prepare-suite --params {params.settings:q} --output {output.suite}"
        " 3>&2 > {log} 2>&1"


rule run_scenarios:
    input:
        suite=paths.SUITE,
        model=lambda wildcards: plan.subject_model(wildcards.subject),
        gguf=lambda wildcards: plan.subject_gguf(wildcards.subject),
        templates=lambda wildcards: plan.subject_templates(wildcards.subject),
        fixtures=lambda wildcards: plan.fixture_files(wildcards.suite),
    output:
        paths.PART,
    log:
        paths.LOG.of(rule="run_scenarios", job="{subject}-{suite}-{part}"),
    # The longest way through the workflow leads over training: tests of start models can wait.
    priority: -1
    conda:
        ENVIRONMENT
    threads: GPU_THREADS
    resources:
        gpu=lambda wildcards: plan.gpus(wildcards.subject),
        gpu_model=gpu_model,
        mem_mb=growing(8000, 2000),
        runtime=growing(60, 15),
    params:
        settings=lambda wildcards: plan.run_scenarios(
            wildcards.subject, wildcards.suite, wildcards.part
        ),
        model=lambda wildcards, input: f"--model {input.model}" if input.model else "",
        gguf=lambda wildcards: plan.gguf_option(wildcards.subject),
    shell:
        "matinee run-scenarios --params {params.settings:q} --suite {input.suite}"
        " {params.model} {params.gguf} --gpus {resources.gpu} --output {output} 3>&2 > {log} 2>&1"


rule score_scenarios:
    input:
        suite=paths.SUITE,
        parts=lambda wildcards: plan.parts(wildcards.subject, wildcards.suite),
    output:
        transcripts=paths.TRANSCRIPTS,
        verdicts=paths.VERDICTS,
    log:
        paths.LOG.of(rule="score_scenarios", job="{subject}-{suite}"),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: plan.score_scenarios(wildcards.subject),
        parts=lambda wildcards, input: [f"--part {path}" for path in input.parts],
    shell:
        "matinee score-scenarios --params {params.settings:q} --suite {input.suite}"
        " {params.parts} --transcripts {output.transcripts} --output {output.verdicts}"
        " 3>&2 > {log} 2>&1"
