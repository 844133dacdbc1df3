"""How a store of any version becomes one of today's: numbered steps, run in order in one transaction."""

from .runner import LATEST, find_version, migrate

__all__ = ["LATEST", "find_version", "migrate"]
