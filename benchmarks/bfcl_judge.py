"""BFCL's own AST checker on pairs; run by the Python of the environment that holds bfcl-eval.

Reads JSON lines `{category, functions, answer, calls}` from standard input and writes
`{valid, error}` for each. Called by `bfcl_agreement.py`; imports nothing of this project.
"""

import json
import sys
import types

# The checker asks this table one thing: whether a model's tool names lose their dots. The module
# behind it would import every vendor's client, so that one answer stands in for it.
_models = types.ModuleType("bfcl_eval.constants.model_config")
_models.MODEL_CONFIG_MAPPING = {"plain": types.SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
sys.modules["bfcl_eval.constants.model_config"] = _models

from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]  # noqa: E402
from bfcl_eval.eval_checker.ast_eval.ast_checker import (  # type: ignore[import-not-found]  # noqa: E402
    ast_checker,
)


def judged(pair: dict) -> dict:  # type: ignore[type-arg]
    """The checker's verdict; an exception of the checker is a verdict of its own."""
    try:
        found = ast_checker(
            pair["functions"],
            pair["calls"],
            pair["answer"],
            Language.PYTHON,
            pair["category"],
            "plain",
        )
    # The pair is foreign and so is the checker: however it fails is a result.
    except Exception as error:  # noqa: BLE001
        return {"valid": False, "error": f"raises {type(error).__name__}"}
    return {"valid": bool(found["valid"]), "error": str(found.get("error_type", ""))}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(judged(json.loads(line))))
