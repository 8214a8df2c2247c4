"""An OpenAPI document turned into a list of tools."""

from matinee.openapi.importing import ImportedTools, import_openapi

__all__ = ["ImportedTools", "import_openapi"]
