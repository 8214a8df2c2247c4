"""What watches over a training run: checkpoints, the loss, the progress bar, the end of time."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from transformers import TrainerCallback

from matinee.runtime import progress
from matinee.runtime.errors import TrainingError
from matinee.training.checkpoints import last_checkpoint, mark_complete


class WithoutHarm:
    """A callback of others whose failure, once training has begun, ends it and not the training.

    SLURM's signal before the time limit reaches every process of a job, wandb's service too: its
    lost connection must not come between the training and the checkpoint that the signal asks for.
    """

    def __init__(self, inner: TrainerCallback) -> None:
        self._inner = inner
        self._gone = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        # What cannot even begin is a setting to be mended, and is said as an error.
        if not name.startswith("on_") or name in ("on_init_end", "on_train_begin"):
            return found

        def event(*arguments: Any, **keywords: Any) -> Any:
            if self._gone:
                return None
            try:
                return found(*arguments, **keywords)
            except Exception as error:  # noqa: BLE001 (wandb fails in many ways)
                self._gone = True
                progress.say(
                    f"! {type(self._inner).__name__} failed ({type(error).__name__}: {error}); "
                    "training goes on without it."
                )
                return None

        return event


class CompleteCheckpoints(TrainerCallback):
    """Marks a checkpoint once every file of it is written; only marked ones are resumed from."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if _together():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            mark_complete(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")


def _together() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _any_process(flag: bool, device: torch.device) -> bool:
    """Whether any process says yes; all of them get the same answer."""
    if not _together():
        return flag
    votes = torch.tensor(int(flag), device=device)
    torch.distributed.all_reduce(votes)
    return bool(votes)


class SoundLoss(TrainerCallback):
    """Stops a run whose loss or gradient is not a number, or whose loss has run away.

    Run away: once the model did better than guessing among all tokens of the vocabulary, which
    costs ln(vocabulary), the loss of a log entry is above twice that. Raises TrainingError with
    the step, the last good checkpoint and what to try.
    """

    def __init__(self, checkpoints: Path, vocabulary: int) -> None:
        self._checkpoints = checkpoints
        self._guessing = math.log(vocabulary)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # A broken state must not be saved as good: the loss is looked at before every checkpoint.
        control.should_log |= control.should_save

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        # With fp16, gradients that overflow are expected: the scaler skips the step and halves.
        for name in ("loss",) if args.fp16 else ("loss", "grad_norm"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(float(value)):
                raise self._stopped(f"{name} is {value}", state)
        loss = (logs or {}).get("loss")
        # The log of the whole run, so that a run that was taken up again remembers.
        known = [entry["loss"] for entry in state.log_history if "loss" in entry]
        if loss is not None and loss > 2 * self._guessing and min(known) < self._guessing:
            raise self._stopped(f"loss has run away to {loss:.1f}, from {min(known):.1f}", state)

    def _stopped(self, what: str, state: Any) -> TrainingError:
        return TrainingError(
            f"{what} at step {state.global_step} of {state.max_steps}. "
            f"Last good checkpoint: {last_checkpoint(self._checkpoints) or 'none yet'}. "
            "Try a lower learning_rate, warmup_steps, or precision: fp32."
        )


class ProgressBar(TrainerCallback):
    """Steps done, with the latest loss."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._bar = progress.bar(state.max_steps, self._label, "step")
            self._bar.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if self._bar is not None and logs and "loss" in logs:
            self._bar.set_postfix_str(f"loss {float(logs['loss']):.3f}", refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._bar is not None:
            self._bar.close()


class StopOnSignal(TrainerCallback):
    """On SIGTERM (a cluster's warning before the time limit) saves a checkpoint, then stops."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        def ask(number: int, frame: object) -> None:
            self._asked = True

        self._before = signal.signal(signal.SIGTERM, ask)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # The trainer saves before it looks at the stop flag.
        self._asked = _any_process(self._asked, args.device)
        control.should_save |= self._asked
        control.should_training_stop |= self._asked

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        signal.signal(signal.SIGTERM, self._before)
        if self._asked and state.global_step < state.max_steps:
            raise TrainingError(
                f"Asked to stop (SIGTERM) at step {state.global_step} of {state.max_steps}; "
                "a checkpoint is saved and the same command goes on from it."
            )
