"""Permission to write to a line: by whom, or the reason why not. Every operation that writes demands one.

The web server of a worker grants it to those who are logged in or bear the token. The command works on Kafka directly,
and writes with the rights that Kafka grants it.
"""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass

from metroline.routing.errors import MetrolineError


class NotPermitted(MetrolineError):
    """Raised instead of a write by somebody who may not write."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Permission to write, or the reason why there is none.

    An operation takes one and calls `demand` before it writes. So a page that forgets to ask who is there writes
    nothing. A permission is made by `of_command` in the command, by `granted` in the web server, and by `of_job` where
    jobs are carried out, and nowhere else.
    """

    by: str
    """The name of the person or program, as the history of dead letters and of the rules has it."""
    refusal: NotPermitted | None

    @classmethod
    def of_command(cls) -> Permission:
        """Return the permission of the command: Kafka decides what it may write. The name is that of the user."""
        return cls(user_name(), None)

    @classmethod
    def granted(cls, by: str) -> Permission:
        """Return the permission of somebody who has proved to know the token."""
        return cls(by, None)

    @classmethod
    def of_job(cls, by: str) -> Permission:
        """Return the permission of a job that somebody has started, who had one."""
        return cls(by, None)

    @classmethod
    def refused(cls, reason: NotPermitted) -> Permission:
        """Return what somebody has who may not write: each `demand` raises the reason."""
        return cls("", reason)

    def demand(self) -> str:
        """Return the name to record. Raise `NotPermitted` if there is no permission."""
        if self.refusal is not None:
            raise self.refusal
        return self.by


def user_name() -> str:
    """Return the name of the operating system's user, or the number of one that has no name, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown user"
