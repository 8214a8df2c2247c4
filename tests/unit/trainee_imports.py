"""Imported once by the fork server, so that a training process starts in a moment."""

import matinee.training
import matinee.training_callbacks
import peft
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, Trainer, TrainingArguments

torch.set_num_threads(1)
LOADED = (
    matinee.training,
    matinee.training_callbacks,
    peft,
    AutoModelForCausalLM,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
)
