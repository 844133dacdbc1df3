"""How a store of any version becomes one of today's: numbered steps, run in order in one transaction."""

from .runner import LATEST, check_tables, find_version, migrate

__all__ = ["LATEST", "check_tables", "find_version", "migrate"]
