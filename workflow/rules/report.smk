# One page, one summary, tables, and the description of the run.


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
        page=report(
            "results/report.html",
            caption="../report/page.rst",
            category="Result",
        ),
        tables=report(
            directory("results/tables"),
            patterns=["{table}.csv"],
            caption="../report/table.rst",
            category="Numbers",
            labels={"table": "{table}"},
        ),
        summary="results/summary.json",
        crate="results/ro-crate-metadata.json",
        workflow=directory("results/crate"),
    log:
        "results/logs/render_report.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        configuration=lambda wildcards: plan.report(),
    shell:
        "python workflow/run.py render-report --params {params.configuration:q} --results results"
        " 3>&2 > {log} 2>&1"
