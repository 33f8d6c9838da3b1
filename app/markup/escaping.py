"""Escapes text for HTML and XML."""

from __future__ import annotations

import re
from html import escape as escape_html

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 excludes (production 2, `Char`)."""


def escape(value: object) -> str:
    """Return the text of a value, safe in an element or a quoted attribute of HTML and XML.

    A character that XML excludes becomes U+FFFD, the replacement character.
    """
    return escape_html(NOT_IN_XML.sub("\ufffd", str(value)))
