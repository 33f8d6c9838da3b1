"""The worker that the environment describes, for `faust -A app.main worker`."""

from metroline.app.factory import create_app
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.settings import Settings

app = create_app(Settings.read())
if app.role.stops:
    prepare_lookups(app.line)
