"""What can go wrong with a lookup."""

from __future__ import annotations

from metroline.routing.errors import MetrolineError, UsageError


class LookupMissing(UsageError):
    """Raised when a lookup is read that was never built."""


class LookupDamaged(MetrolineError):
    """Raised when the file of a lookup is not what was written."""


class LookupNotBuilt(MetrolineError):
    """Raised when a lookup could not be built; what was there before is still there."""


class InvalidLookup(UsageError):
    """Raised when a name, a folder or a key column cannot be a lookup's."""
