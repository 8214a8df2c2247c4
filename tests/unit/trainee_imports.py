"""Imported once by the fork server, so that a training process starts in a moment."""

import peft
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, Trainer, TrainingArguments

import matinee.training.run

torch.set_num_threads(1)
LOADED = (
    matinee.training.run,
    peft,
    AutoModelForCausalLM,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
)
