"""The errors of lookups."""

from __future__ import annotations

from metroline.routing.errors import MetrolineError, UsageError


class LookupMissing(UsageError):
    """Raised when a lookup is read that was not built."""


class LookupDamaged(MetrolineError):
    """Raised when the file of a lookup is damaged."""


class LookupNotBuilt(MetrolineError):
    """Raised when a lookup could not be built. Its previous version is still there."""


class InvalidLookup(UsageError):
    """Raised when a name, folder, key or key column cannot be used for a lookup."""
