# One page, one summary, tables.


rule render_report:
    input:
        plan.evaluated("verdicts.jsonl"),
        plan.evaluated("transcripts.jsonl"),
        plan.trained("training", "metrics.json"),
        plan.trained("training", "trainer_state.json"),
        plan.trained("merged", "merge.json"),
        expand("results/suite/{suite}.json", suite=plan.suite_ids),
        expand(
            "results/data/{variant}/{name}.json",
            variant=plan.variant_ids,
            name=["profile", "leakage"],
        ),
        plan.compared(),
    output:
        report="results/report.html",
        summary="results/summary.json",
        tables=directory("results/tables"),
    log:
        "results/logs/render_report.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        configuration=plan.report(),
    shell:
        "python workflow/run.py render-report --params {params.configuration:q} --results results"
        " 3>&2 > {log} 2>&1"
