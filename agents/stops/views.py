"""The views through which a stop reads and writes the records of its service."""

from __future__ import annotations

from metroline.routing.records.field_sets import FieldSet
from metroline.routing.records.service_view import PartialDecode, SelectedFields, ServiceView, WholeRecord

MAX_VIEWS = 100
"""Maximum number of views that are kept. Each version of a rules table may need other fields and hence another view."""

WHOLE_RECORD = WholeRecord()


class ServiceViews:
    """The views for one service, by the fields that the rules need."""

    def __init__(self, reads: FieldSet) -> None:
        """`reads` are the fields that the service receives; None for the whole record."""
        self._reads = reads
        self._views: dict[FieldSet, ServiceView] = {}

    def of(self, needed_fields: FieldSet) -> ServiceView:
        """Return a view that makes `needed_fields` of each record available in addition to those for the service."""
        if self._reads is None:
            return WHOLE_RECORD
        found = self._views.get(needed_fields)
        if found is None:
            if len(self._views) > MAX_VIEWS:
                self._views.clear()
            reads = self._reads
            found = SelectedFields(reads) if needed_fields is None else PartialDecode(reads, needed_fields)
        if isinstance(found, PartialDecode):
            found = found.grown()
        self._views[needed_fields] = found
        return found
