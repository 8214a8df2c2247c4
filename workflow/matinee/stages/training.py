"""From token rows to a published model: train the adapter, merge it, certify the result."""

from __future__ import annotations

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matinee.config import paths
from matinee.config.parameters import (
    ChooseVariant,
    ExportGguf,
    MergeModel,
    PublishModel,
    TrainAdapter,
)
from matinee.runtime import process, progress, records
from matinee.runtime.errors import DataError
from matinee.stages.options import Gpus, Input, Output, hold_devices, told

if TYPE_CHECKING:
    from matinee.training.batching import Job

CERTIFIED_PROMPTS = 2

app = typer.Typer()


@app.command()
def train_adapter(
    params: Annotated[TrainAdapter, told(TrainAdapter)],
    model: Input,
    tokens: Input,
    checkpoints: Annotated[Path, typer.Option(help="Survives a kill; removed at the end.")],
    output: Output,
    gpus: Gpus = None,
) -> None:
    """LoRA fine-tuning of one variant with one seed: adapter, metrics, trainer state, curve."""
    from matinee.training.parallel import processes, relaunch

    hold_devices(gpus)
    if params.training.devices > 1 and processes() == 1:
        relaunch(params.training.devices)
    # A checkpoint belongs to its token rows: other rows under the same settings start afresh.
    checkpoints = checkpoints.with_name(f"{checkpoints.name}-{records.sha256_file(tokens)[:8]}")
    label = f"{params.variant} s{params.seed}"
    with _alone(checkpoints) as waited:
        if waited and (output / "run.json").exists():
            # Snakemake had removed it before this job: the other process, whose driver is gone,
            # was given the same work and has finished it.
            progress.say(f"✓ trained {label}: by the process that was waited for")
            return
        _prepare_environment(checkpoints.name, output)
        from matinee.data.tokens import read_tokens
        from matinee.models.devices import describe_build
        from matinee.models.weights import require_whole
        from matinee.training.batching import Job

        require_whole(model)
        progress.say(f"train {label}: {describe_build()}")
        recorder = records.Recorder("train_adapter", params)
        job = Job(
            model=model,
            rows=read_tokens(tokens),
            validation=read_tokens(tokens, held_out=True),
            settings=params.training,
            seed=params.seed,
            shuffle=params.shuffle_rows,
            checkpoints=checkpoints,
            output=output,
            label=label,
            report_to_wandb=os.environ.get("WANDB_MODE", "disabled") != "disabled",
        )
        _train(job, recorder)


def _alone(checkpoints: Path) -> AbstractContextManager[bool]:
    """Two trainings in one folder of checkpoints would delete each other's files."""
    return nullcontext(False) if "WORLD_SIZE" in os.environ else process.sole(checkpoints)


def _prepare_environment(run: str, output: Path) -> None:
    """Before torch is imported: the same order of additions on every run, and no stray uploads.

    Where a run is watched is told by the environment, not by parameters: it does not change it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    output.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"] = str(output)
    # The service of another process (a notebook that started us) may still hold this run's id.
    os.environ.pop("WANDB_SERVICE", None)
    os.environ.setdefault("WANDB_SILENT", "true")
    # The same run wherever it is taken up again, so that a resumed run is one run.
    os.environ["WANDB_RUN_ID"] = run
    os.environ["WANDB_RESUME"] = "allow"


def _train(job: Job, recorder: records.Recorder) -> None:
    from matinee.training.curves import draw_loss
    from matinee.training.parallel import is_main
    from matinee.training.run import train

    metrics = train(job)
    if not is_main():
        return
    draw_loss(job.output / "trainer_state.json", job.label, job.output)
    recorder.add(metrics=metrics)
    recorder.write(job.output / "run.json")
    progress.say(
        f"✓ trained {job.label}: {metrics['steps']:,} steps, loss "
        f"{metrics['train_loss']:.4f}, {metrics['tokens_per_second']:,.0f} tokens/s, "
        f"{recorder.summary()}"
    )


@app.command()
def choose_variant(
    params: Annotated[ChooseVariant, told(ChooseVariant)], results: Input, output: Output
) -> None:
    """Choose among a sweep's candidates, and put the chosen one's training in the variant's place.

    Ties go to the first.
    """
    scores = {
        candidate: [_score(results, params.suite, candidate, seed) for seed in params.seeds]
        for candidate in params.candidates
    }
    means = {candidate: sum(marks) / len(marks) for candidate, marks in scores.items()}
    best = (min if params.suite is None else max)(means, key=means.__getitem__)
    for seed in params.seeds:
        source, made = (
            paths.TRAINING.below(results, variant=name, seed=seed)
            for name in (best, params.variant)
        )
        # The trained settings, which the model card tells; the time was the candidate's.
        recorder = records.Recorder(
            "choose_variant", records.read_json(source / "run.json")["parameters"]
        )
        recorder.add(chosen=best)
        shutil.copytree(source / "adapter", made / "adapter", dirs_exist_ok=True)
        for file in ("metrics.json", "trainer_state.json"):
            shutil.copy(source / file, made / file)
        recorder.write(made / "run.json")
    by = params.suite or "held_out_loss"
    table = [
        {"id": one, "settings": settings, "score": means[one], "by_seed": scores[one]}
        for one, settings in params.candidates.items()
    ]
    choice = {"variant": params.variant, "by": by, "chosen": best, "candidates": table}
    records.write_json(output, choice)
    progress.say(f"✓ chose {best} of {len(table)}: {by} {means[best]:.4f}")


def _score(results: Path, suite: str | None, candidate: str, seed: int) -> float:
    """The held-out loss, or the share of a suite's cases that are right."""
    if suite is None:
        metrics = records.read_json(paths.METRICS.below(results, variant=candidate, seed=seed))
        if metrics["validation_loss"] is None:
            raise DataError(
                f"{candidate} s{seed}: no row was held out to choose by. Raise the variant's "
                "validation_share, or choose by a development suite."
            )
        return float(metrics["validation_loss"])
    subject = f"{candidate}-tuned-s{seed}"
    verdicts = records.read_lines(paths.VERDICTS.below(results, subject=subject, suite=suite))
    return sum(bool(verdict["success"]) for verdict in verdicts) / len(verdicts)


@app.command()
def merge_model(
    params: Annotated[MergeModel, told(MergeModel)],
    base: Input,
    adapter: Input,
    tokens: Input,
    output: Output,
    gpus: Gpus = None,
) -> None:
    """Merge an adapter into its base, export the model with template and card, certify it."""
    from matinee.export.certificate import certify
    from matinee.export.exporting import complete_export
    from matinee.export.merging import merge
    from matinee.models.devices import place
    from matinee.models.weights import require_whole

    hold_devices(gpus)
    require_whole(base)
    require_whole(adapter)
    recorder = records.Recorder("merge_model", params)
    with records.whole(output / "model") as folder:
        facts = merge(base, adapter, folder, params.export.shard_size)
        complete_export(folder, params.template, base=base, training=adapter.parent)
        facts |= certify(
            base,
            adapter,
            folder,
            _prompts(tokens),
            placement=place("auto"),
            tolerance=params.export.tolerance,
        )
    records.write_json(output / "merge.json", facts)
    recorder.add(**facts)
    recorder.write(output / "run.json")
    progress.say(
        f"✓ merged {output.parent.name} {output.name}: logits within "
        f"{facts['largest_logit_difference']:.1e} of the adapter's in fp32 and "
        f"{facts['rounding_logit_difference']:.1e} in {facts['weights']}, "
        f"{facts['identical_greedy']} of {facts['prompts']} greedy answers the same, "
        f"{recorder.summary()}"
    )


def _prompts(tokens: Path) -> list[list[int]]:
    """The beginnings of training rows up to the first supervised token, spread over the data.

    Of each stretch of the data the shortest one: what is proved is the same, and it costs less.
    """
    from matinee.data.tokens import read_tokens

    begun = [(ids, mask) for ids, mask in read_tokens(tokens) if 1 in mask]
    prompts = [ids[: mask.index(1)] for ids, mask in begun if mask.index(1) > 0]
    stretch = max(1, len(prompts) // CERTIFIED_PROMPTS)
    return [
        min(prompts[start : start + stretch], key=len)
        for start in range(0, stretch * CERTIFIED_PROMPTS, stretch)
        if prompts[start : start + stretch]
    ]


@app.command()
def export_gguf(
    params: Annotated[ExportGguf, told(ExportGguf)], model: Input, output: Output
) -> None:
    """Write a merged model as GGUF files for llama.cpp, with an Ollama `Modelfile`."""
    from matinee.export.gguf import write_gguf

    recorder = records.Recorder("export_gguf", params)
    facts = write_gguf(model, output, params.types)
    recorder.add(files=facts)
    recorder.write(output / "run.json")
    sizes = ", ".join(f"{kind} {fact['bytes'] / 1e6:,.0f} MB" for kind, fact in facts.items())
    progress.say(f"✓ exported {sizes}, {recorder.summary()}")


@app.command()
def publish_model(
    params: Annotated[PublishModel, told(PublishModel)],
    model: Input,
    output: Output,
    gguf: Annotated[Path | None, typer.Option(help="Its GGUF files, which go along.")] = None,
) -> None:
    """Upload a merged model to a hub, with a token from the environment."""
    from matinee.export.publishing import publish

    recorder = records.Recorder("publish_model", params)
    facts = publish(model, **params.model_dump(), gguf=gguf)
    recorder.add(**facts)
    recorder.write(output)
    progress.say(f"✓ published {facts['address']}, {recorder.summary()}")
