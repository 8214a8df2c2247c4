# One page, one summary, tables.


rule render_report:
    input:
        plan.evaluated(paths.VERDICTS, paths.TRANSCRIPTS),
        plan.tested(paths.METRICS, paths.TRAINER_STATE, paths.CERTIFICATE),
        [paths.CHOICE.of(variant=plan.sweep.variant)] if plan.sweep else [],
        expand([paths.SUITE, paths.FLOOR], suite=plan.suite_ids),
        plan.with_rows(paths.PROFILE, paths.LEAKAGE),
        plan.compared(),
    output:
        page=report(
            paths.PAGE,
            caption="../report/page.rst",
            category="Result",
        ),
        tables=report(
            directory(paths.TABLES),
            patterns=["{table}.csv"],
            caption="../report/table.rst",
            category="Numbers",
            labels={"table": "{table}"},
        ),
        summary=paths.SUMMARY,
    log:
        RESULTS / "logs/render_report.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: plan.render_report(),
        results=RESULTS,
    shell:
        "matinee render-report --params {params.settings:q} --results {params.results}"
        " 3>&2 > {log} 2>&1"
