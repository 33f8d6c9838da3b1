"""What `faust -A app.main worker` loads: the worker that the environment describes."""

from app.factory import create_app
from app.settings import Settings

app = create_app(Settings.read())
