# What comes out the same when it is made again: asked for by name, or by the configuration.


rule check_determinism:
    input:
        suite=f"results/suite/{plan.certified.suite}.json",
        model=plan.certified.model,
        base=plan.certified.base,
        tokens=f"results/data/{plan.certified.variant}/tokens.parquet",
        fixtures=plan.fixture_files(plan.certified.suite),
    output:
        "results/determinism.json",
    log:
        "results/logs/check_determinism.log",
    conda:
        ENVIRONMENT
    threads: GPU_THREADS
    resources:
        gpu=1,
        mem_mb=growing(32000),
        runtime=growing(120),
    params:
        settings=plan.determinism(),
    shell:
        "python workflow/run.py check-determinism --params {params.settings:q}"
        " --suite {input.suite} --model {input.model} --base {input.base} --tokens {input.tokens}"
        " --gpus {resources.gpu} --output {output} 3>&2 > {log} 2>&1"
