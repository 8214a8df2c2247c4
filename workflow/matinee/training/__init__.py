"""LoRA supervised fine-tuning: token rows and a start model in, an adapter out."""

from matinee.training.job import Job
from matinee.training.run import train

__all__ = ["Job", "train"]
