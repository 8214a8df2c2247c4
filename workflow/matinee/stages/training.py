"""From token rows to a merged model: train the adapter, merge it, certify the result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.config import Export, GgufType, Training
from matinee.data.tokens import read_tokens
from matinee.models.weights import require_whole
from matinee.runtime import process, progress, records

if TYPE_CHECKING:
    from matinee.training import Job

CERTIFIED_PROMPTS = 8


def train_adapter(
    model: Path,
    tokens: Path,
    settings: Training,
    *,
    variant: str,
    seed: int,
    shuffle: bool,
    checkpoints: Path,
    output: Path,
) -> None:
    """Trains one variant with one seed; leaves adapter, metrics, trainer state and loss curve."""
    # A checkpoint belongs to its token rows: other rows under the same settings start afresh.
    checkpoints = checkpoints.with_name(f"{checkpoints.name}-{records.sha256_file(tokens)[:8]}")
    with _alone(checkpoints) as waited:
        if waited and (output / "run.json").exists():
            # Snakemake had removed it before this job: the other process, whose driver is gone,
            # was given the same work and has finished it.
            progress.say(f"✓ trained {variant} s{seed}: by the process that was waited for")
            return
        _prepare_environment(checkpoints.name, output)
        from matinee.models.devices import describe_build
        from matinee.training import Job

        require_whole(model)
        progress.say(f"train {variant} s{seed}: {describe_build()}")
        recorder = records.Recorder(
            "train_adapter",
            {
                "variant": variant,
                "seed": seed,
                "shuffle_rows": shuffle,
                "training": settings.model_dump(mode="json"),
            },
        )
        job = Job(
            model=model,
            rows=read_tokens(tokens),
            validation=read_tokens(tokens, held_out=True),
            settings=settings,
            seed=seed,
            shuffle=shuffle,
            checkpoints=checkpoints,
            output=output,
            label=f"{variant} s{seed}",
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
    from matinee.training import train
    from matinee.training.curves import draw_loss
    from matinee.training.parallel import is_main

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


def merge_model(
    base: Path,
    adapter: Path,
    tokens: Path,
    template: str,
    export: Export,
    output: Path,
    *,
    variant: str,
    precision: Any = "auto",
) -> None:
    """Writes `model/` (weights, tokenizer, template, card) and its certificate `merge.json`."""
    from matinee.export.certificate import certify
    from matinee.export.exporting import complete_export
    from matinee.export.merging import merge
    from matinee.models.devices import place

    require_whole(base)
    require_whole(adapter)
    recorder = records.Recorder(
        "merge_model", {"variant": variant, "template": template, **export.model_dump(mode="json")}
    )
    with records.whole(output / "model") as folder:
        facts = merge(base, adapter, folder, export.shard_size)
        complete_export(folder, template, base=base, training=adapter.parent)
        certificate = certify(
            base,
            adapter,
            folder,
            _prompts(tokens),
            placement=place(precision),
            tolerance=export.tolerance,
        )
    facts |= certificate
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


def export_gguf(model: Path, types: Sequence[GgufType], output: Path) -> None:
    """Writes a merged model as GGUF files, with an Ollama `Modelfile`."""
    from matinee.export.gguf import write_gguf

    recorder = records.Recorder("export_gguf", {"types": list(types)})
    facts = write_gguf(model, output, types)
    recorder.add(files=facts)
    recorder.write(output / "run.json")
    sizes = ", ".join(f"{kind} {fact['bytes'] / 1e6:,.0f} MB" for kind, fact in facts.items())
    progress.say(f"✓ exported {sizes}, {recorder.summary()}")


def publish_model(
    model: Path, repository: str, output: Path, *, private: bool, token_env: str
) -> None:
    """Uploads an exported model, and notes where it went."""
    from matinee.export.publishing import publish

    recorder = records.Recorder("publish_model", {"repository": repository, "private": private})
    facts = publish(model, repository, private=private, token_env=token_env)
    recorder.add(**facts)
    recorder.write(output)
    progress.say(f"✓ published {facts['address']}, {recorder.summary()}")


def _prompts(tokens: Path) -> list[list[int]]:
    """The beginnings of training rows up to the first supervised token, spread over the data.

    Of each stretch of the data the shortest one: what is proved is the same, and it costs less.
    """
    begun = [(ids, mask) for ids, mask in read_tokens(tokens) if 1 in mask]
    prompts = [ids[: mask.index(1)] for ids, mask in begun if mask.index(1) > 0]
    stretch = max(1, len(prompts) // CERTIFIED_PROMPTS)
    return [
        min(prompts[start : start + stretch], key=len)
        for start in range(0, stretch * CERTIFIED_PROMPTS, stretch)
        if prompts[start : start + stretch]
    ]
