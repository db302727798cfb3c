"""Every URL of the process."""

from django.contrib import admin
from django.urls import include, path

from botcrypto import api

urlpatterns = [
    path("", include("marketdata.urls")),
    path("health", api.health),
    path("ready", api.ready),
    path("metrics", api.root_metrics),
    path("api/", api.api.urls),
    path("admin/", admin.site.urls),
]
