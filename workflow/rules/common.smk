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
except UserError as error:
    # Not a WorkflowError: that one is silent under `--quiet all`, and shows a line of this file.
    sys.exit(str(error))

# Told by the environment, not by parameters: these must not rerun what is there.
os.environ["WANDB_MODE"] = plan.configuration.wandb.mode
os.environ["WANDB_PROJECT"] = plan.configuration.wandb.project
os.environ["MATINEE_OFFLINE"] = "1" if plan.configuration.offline else "0"

ENVIRONMENT = "../../environment.yml"
RUN = f"{sys.executable if not workflow.deployment_settings.deployment_method else 'python'} {workflow.basedir}/workflow/run.py"
# A stage's output goes to its log; progress and the closing line also go to the terminal.
LOGGED = "MATINEE_TERMINAL=3"


wildcard_constraints:
    model=plan.pattern(plan.model_ids),
    dataset=plan.pattern(plan.dataset_ids),
    variant=plan.pattern(plan.variant_ids),
    suite=plan.pattern(plan.suite_ids),
    subject=plan.pattern(plan.subject_ids),
    seed=r"\d+",
    part=r"\d+",
