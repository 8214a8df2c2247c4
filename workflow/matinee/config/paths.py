"""Where every artefact lies: the patterns of the rules, filled in by everything else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace


class Artefact(str):
    """A path from the run's folder, with a {place} for each name: what a rule's output is."""

    def of(self, **names: object) -> str:
        """The path of one artefact."""
        return self.format(**names)

    def at(self, results: str) -> Artefact:
        """The same pattern with another name of the folder of results."""
        _, _, rest = self.rpartition("results/")
        return Artefact(f"{results}/{rest}") if rest != self else self

    def below(self, results: Path, **names: object) -> Path:
        """The same in another folder of results."""
        return results / self.format(**names).removeprefix("results/")


MODEL = Artefact("results/model/{model}")
DATASET = Artefact("results/dataset/{dataset}")
RAW = Artefact(f"{DATASET}/raw")
ROWS = Artefact(f"{DATASET}/conversations.jsonl")
MIXED = Artefact("results/data/{variant}/conversations.jsonl")
TOKENS = Artefact("results/data/{variant}/tokens.parquet")
PROFILE = Artefact("results/data/{variant}/profile.json")
LEAKAGE = Artefact("results/data/{variant}/leakage.json")
TRAINING = Artefact("results/training/{variant}/s{seed}")
TRAINING_RUN = Artefact(f"{TRAINING}/run.json")
ADAPTER = Artefact(f"{TRAINING}/adapter")
METRICS = Artefact(f"{TRAINING}/metrics.json")
TRAINER_STATE = Artefact(f"{TRAINING}/trainer_state.json")
CHOICE = Artefact("results/training/{variant}/choice.json")
MERGED = Artefact("results/merged/{variant}/s{seed}")
MERGED_MODEL = Artefact(f"{MERGED}/model")
CERTIFICATE = Artefact(f"{MERGED}/merge.json")
GGUF = Artefact(f"{MERGED}/gguf")
PUBLISHED = Artefact("results/published/{variant}/s{seed}/publish.json")
SUITE = Artefact("results/suite/{suite}.json")
FLOOR = Artefact("results/suite/{suite}.floor.jsonl")
EVALUATION = Artefact("results/evaluation/{subject}/{suite}")
PART = Artefact(f"{EVALUATION}/parts/{{part}}.jsonl")
TRANSCRIPTS = Artefact(f"{EVALUATION}/transcripts.jsonl")
VERDICTS = Artefact(f"{EVALUATION}/verdicts.jsonl")
PAGE = Artefact("results/report.html")
SUMMARY = Artefact("results/summary.json")
TABLES = Artefact("results/tables")
# Not declared to Snakemake, which deletes a job's outputs before it runs again.
CHECKPOINTS = Artefact("results/.checkpoints/{variant}-s{seed}-{digest}")
LOG = Artefact("results/logs/{rule}/{job}.log")


def under(results: str) -> SimpleNamespace:
    """Every artefact, in a folder of results of that name."""
    found = {name: value for name, value in globals().items() if isinstance(value, Artefact)}
    return SimpleNamespace(**{name: value.at(results) for name, value in found.items()})
