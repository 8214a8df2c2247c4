# Matinee: fine-tune models to call tools, and measure whether it worked.
#
#   snakemake --cores 1 --use-conda      on a workstation with a GPU
#   snakemake --profile slurm            on a cluster
#   make demo                            two small models on any machine


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        paths.PAGE,
        paths.SUMMARY,
        plan.everything(),
