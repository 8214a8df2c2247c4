# The checked configuration, and the few paths that more than one rule needs.
import os
import sys

from snakemake.utils import min_version

min_version("9.0")
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from matinee.checking import parse_configuration
from matinee.errors import UserError
from matinee.plan import Plan

try:
    plan = Plan(parse_configuration(config, Path.cwd()))
    plan.require_sources()
except UserError as error:
    # Not a WorkflowError: that one is silent under `--quiet all`, and shows a line of this file.
    sys.exit(str(error))

plan.tell_environment()
ENVIRONMENT = "../../environment.yml"
# What `--cache` shares between clones. Without a cache to share, Snakemake would warn at every run.
CACHED = "omit-software" if "SNAKEMAKE_OUTPUT_CACHE" in os.environ else False


wildcard_constraints:
    model=plan.pattern(plan.model_ids),
    dataset=plan.pattern(plan.dataset_ids),
    variant=plan.pattern(plan.variant_ids),
    suite=plan.pattern(plan.suite_ids),
    subject=plan.pattern(plan.subject_ids),
    seed=r"\d+",
    part=r"\d+",
