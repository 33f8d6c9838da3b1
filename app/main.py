"""What `faust -A app.main worker` loads: the worker that the environment describes."""

from app.factory import create_app
from app.lookups import prepare_lookups
from app.settings import Settings

app = create_app(Settings.read())
if app.role.stops:
    prepare_lookups(app.line)
