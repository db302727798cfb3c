"""WebSocket URLs."""

from channels.security.websocket import WebsocketDenier
from django.urls import path, re_path

from marketdata.consumers import ContextConsumer

websocket_urlpatterns = [
    path("ws/context/", ContextConsumer.as_asgi()),
    # Without a last word an unknown path would be an error of ours in the log.
    re_path("", WebsocketDenier.as_asgi()),
]
