"""LoRA supervised fine-tuning: token rows and a start model in, an adapter out."""
