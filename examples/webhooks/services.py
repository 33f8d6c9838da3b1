"""The services of the line webhooks. routes.toml says where a delivery goes after each of them."""

import asyncio
from collections.abc import AsyncIterator

from pydantic_settings import BaseSettings

from metroline import Retry, Wait, lookup, resource, service

channels = lookup("webhooks.channels")

THINGS = {
    "check_run": "check",
    "comment": "comment",
    "review": "review",
    "pull_request": "pull request",
    "issue": "issue",
    "commits": "push",
}
"""The fields of GitHub's deliveries that say what they are about; a comment has the pull request beside it."""


class Settings(BaseSettings, env_prefix="WEBHOOKS_"):
    """The settings of the line."""

    quiet: float = 600
    """WEBHOOKS_QUIET: seconds for which a new pull request is not announced, since its author is still writing."""


@service(no_retry=(KeyError,), reads=["action", *THINGS, "compare", "repository", "sender"])
def read_github(delivery):
    """Describe a delivery of GitHub in the few fields that all later stops need."""
    field = next(name for name in THINGS if name in delivery)
    thing = delivery[field] if field != "commits" else {"html_url": delivery["compare"]}
    about = delivery.get("pull_request") or delivery.get("issue") or thing
    delivery["event"] = {
        "kind": THINGS[field],
        "action": delivery.get("action", "pushed"),
        "title": about.get("title") or about.get("name"),
        "url": thing["html_url"],
        "by": delivery["sender"]["login"],
    }
    delivery["repo"] = delivery["repository"]["full_name"]
    return delivery


@service(no_retry=(KeyError,), reads=["object_kind", "object_attributes", "project", "user", "user_username"])
def read_gitlab(delivery):
    """Describe a delivery of GitLab in the same fields."""
    about = delivery.get("object_attributes", {})
    user = delivery["user"]["username"] if "user" in delivery else delivery["user_username"]
    delivery["event"] = {
        "kind": delivery["object_kind"].replace("merge_request", "pull request"),
        "action": about.get("action", "opened" if about else "pushed"),
        "title": about.get("title"),
        "url": about.get("url") or delivery["project"]["web_url"],
        "by": user,
    }
    delivery["repo"] = delivery["project"]["path_with_namespace"]
    return delivery


@service(reads=["repo"])
def find_channel(delivery):
    """Add the channel of the team that owns the repository; null if there is none."""
    delivery["channel"] = channels.get(delivery["repo"])
    return delivery


@service
def hold_back(delivery, settings):
    """Let a new pull request rest for a while."""
    return Wait(seconds=settings.quiet, then="next")


class ChatIsBusy(Exception):
    """Raised by the chat when it wants no more messages for a number of seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the chat is busy for {seconds:g} s")
        self.seconds = seconds


class Chat:
    """Stands for the client of a chat: a real one would hold an HTTP session, opened by `chat` below."""

    async def post(self, channel: str, text: str, key: str) -> str:
        """Post a text, once for each key, and return the address of the message. May raise `ChatIsBusy`."""
        await asyncio.sleep(0.01)
        return f"{channel}/{key}"


@resource
async def chat() -> AsyncIterator[Chat]:
    """Open the client of the chat."""
    yield Chat()


@service(ordered="channel", rate="50/s", timeout=5, attempts=6, deadline=24 * 3600, reads=["channel", "event"])
async def announce(delivery, id, chat):
    """Post the event to the channel, in the order in which events came. After a day, nobody wants to read it."""
    event = delivery["event"]
    text = f"{event['by']} {event['action']} the {event['kind']} {event['title'] or ''}: {event['url']}"
    try:
        delivery["message"] = await chat.post(delivery["channel"], text, key=id)
    except ChatIsBusy as busy:
        return Retry("the chat is busy", after=busy.seconds)
    return delivery
