"""WebSocket URLs."""

from django.urls import path

from marketdata.consumers import ContextConsumer

websocket_urlpatterns = [path("ws/context/", ContextConsumer.as_asgi())]
