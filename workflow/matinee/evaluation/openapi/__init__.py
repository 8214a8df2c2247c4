"""An OpenAPI document turned into a list of tools, and how each of them is called."""

from matinee.evaluation.openapi.importing import ImportedTools, Operation, import_openapi

__all__ = ["ImportedTools", "Operation", "import_openapi"]
