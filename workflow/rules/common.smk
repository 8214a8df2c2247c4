# The checked configuration, and the few paths that more than one rule needs.
import atexit
import os
import sys

from snakemake.utils import min_version

min_version("9.0")
RULES = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
sys.path.insert(0, str(RULES.parent))

from matinee.runtime import driver
from matinee.config.checking import configuration_files, read_configuration
from matinee.data.sources import require_sources
from matinee.runtime.errors import UserError
from matinee.config import paths
from matinee.config.plan import Plan
from matinee.models.anatomy import gigabytes

deployment = workflow.deployment_settings
with_conda = "conda" in map(str, deployment.deployment_method)
# Not for lint, summaries and dry runs, which may look on while another driver is at work, and not
# inside of a cluster job. A driver of cluster jobs is given a number of jobs, and no cores.
runs_jobs = (
    workflow.is_main_process
    and (workflow._cores is not None or workflow.resource_settings.nodes is not None)
    and not workflow.output_settings.dryrun
)

try:
    if with_conda and workflow.is_main_process:
        driver.require_conda()
    # Not `configfile:`, which reads YAML 1.1, lets the last of two equal keys win, and tells no line.
    settings = workflow.config_settings
    if workflow.modifier.skip_configfile:
        # A module of another workflow: what that one gives it lies over our configuration.
        files, given = [RULES.parents[1] / "config.yaml"], dict(config)
    else:
        files = configuration_files(
            settings.configfiles, alone=settings.replace_workflow_config
        )
        given = settings.config
    plan = Plan(read_configuration(files, given, Path.cwd()))
    RESULTS = Path(plan.configuration.results)
    paths = paths.under(plan.configuration.results)
    require_sources(plan.configuration, RESULTS)
    if runs_jobs:
        driver.require_writable(RESULTS)
        # The name keeps the file open, and with it the lock, until this process ends.
        held = driver.hold(Path.cwd())
        if moved := driver.mend_clock(RESULTS):
            print(moved, file=sys.stderr)
except UserError as error:
    # Not a WorkflowError: that one is silent under `--quiet all`, and shows a line of this file.
    sys.exit(str(error))

# What a run takes, beneath what a dry run says to a person; `--quiet` leaves it out.
output = workflow.output_settings
if output.dryrun and not output.quiet and sys.stderr.isatty():
    from matinee.stages.estimating import tell_estimate

    atexit.register(tell_estimate, plan)

# What `snakemake --report` shows.
config.update(plan.configuration.model_dump(mode="json"))
plan.tell_environment(
    Path(deployment.conda_prefix or ".snakemake/conda") if with_conda else None
)
ENVIRONMENT = "../../environment.yml"
# What `--cache` shares between clones. Without a cache to share, Snakemake would warn at every run.
CACHED = "omit-software" if "SNAKEMAKE_OUTPUT_CACHE" in os.environ else False

# A cluster asks all processes of a job to end. Bash must not die before the stage has: `trap`
# lets it wait for what the stage saves.
shell.prefix("set -euo pipefail; trap : TERM; ")


# GB of weights of each start model; where nothing tells, as the published ones.
SIZES = {
    model: gigabytes(plan.model_folders(model, RESULTS), plan.model_names(model)) or 12
    for model in plan.model_ids
}


def growing(amount, per_gigabyte=0):
    """A resource that grows with each attempt, for profiles with `retries`, and with the weights
    that the job works on: 14 and 1.5 are 32 for those of Yi-6B, 12 GB."""

    def resource(wildcards, attempt):
        size = SIZES.get(plan.asked_for(**wildcards)[0], 0) if per_gigabyte else 0
        return attempt * round(amount + per_gigabyte * size)

    return resource


def gpu_model(wildcards):
    """The kind of GPU that a variant asks for; empty for any."""
    return plan.asked_for(**wildcards)[1]


# Where several GPUs are given (`--cores 8 --resources gpu=2`), their jobs share the cores.
GPU_THREADS = plan.gpu_threads(
    workflow._cores,
    (
        workflow.global_resources["gpu"].value
        if "gpu" in workflow.global_resources
        else None
    ),
)


# For `--sdm apptainer`: apptainer build matinee.sif apptainer.def
container: "matinee.sif"


wildcard_constraints:
    model=plan.pattern(plan.model_ids),
    dataset=plan.pattern(plan.dataset_ids),
    variant=plan.pattern(
        [*plan.variant_ids, *(one.id for one in plan.configuration.candidates)]
    ),
    suite=plan.pattern([*plan.suite_ids, *plan.development]),
    subject=plan.pattern(plan.subjects),
    seed=r"\d+",
    part=r"\d+",
