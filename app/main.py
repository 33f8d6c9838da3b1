"""The app that `faust -A metroline.app.main worker` loads, with the settings of the environment."""

from metroline.app.factory import create_app
from metroline.app.inputs.lookup_builds import prepare_lookups
from metroline.app.settings import Settings

app = create_app(Settings.read())
if app.role.stops:
    prepare_lookups(app.line)
