"""The ASGI application: pages and API by Django, pushes by Channels; foreign origins refused."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botcrypto.settings")

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from botcrypto.hot import Hot  # noqa: E402  (needs the settings)
from botcrypto.origin import OwnOrigin  # noqa: E402
from marketdata.routing import websocket_urlpatterns  # noqa: E402  (needs the apps loaded)

application = ProtocolTypeRouter(
    {
        "http": Hot(django_application),
        "websocket": OwnOrigin(URLRouter(websocket_urlpatterns)),
    }
)
