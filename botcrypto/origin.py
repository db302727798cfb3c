"""Who may open a WebSocket: our own pages, and programs, which send no Origin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.http.request import validate_host

Application = Callable[..., Awaitable[None]]


class OwnOrigin:
    """ASGI: refuses connections of pages that are not ours.

    A browser tells the page's origin and no page can change that; where there is none, there is
    no visitor who could be misled. `null`, as files and sandboxed frames say, is foreign.

    Parameters
    ----------
    application : callable
        The ASGI application behind.
    """

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: MutableMapping[str, Any], *channels: Any) -> None:
        """Hand the connection on, or refuse it with 403."""
        origins = [value.decode("latin1") for name, value in scope["headers"] if name == b"origin"]
        is_own = all(_is_own(origin) for origin in origins)
        await (self.application if is_own else WebsocketDenier())(scope, *channels)


def _is_own(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname
    except ValueError:
        return False
    if host is None:
        return False
    return validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS)
