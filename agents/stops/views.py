"""The views through which a stop reads and writes records."""

from __future__ import annotations

from metroline.routing.records.field_sets import FieldSet
from metroline.routing.records.service_view import PartialDecode, SelectedFields, ServiceView, WholeRecord

MAX_VIEWS = 100
"""Sets of needed fields for which a view is kept; the tables of old versions may have named others."""

WHOLE_RECORD = WholeRecord()


class ServiceViews:
    """The views of a service that reads certain fields, by the fields that must stay known beside them."""

    def __init__(self, reads: FieldSet) -> None:
        self._reads = reads
        self._views: dict[FieldSet, ServiceView] = {}

    def of(self, needed_fields: FieldSet) -> ServiceView:
        """Return the view in which `needed_fields` are known of each record, whatever the service reads."""
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
