"""Every URL of the process."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from botcrypto import api

urlpatterns = [
    path("", include("marketdata.urls")),
    path("health", api.health),
    path("ready", api.ready),
    path("metrics", api.root_metrics),
    path("api/", api.api.urls),
    path("admin/", admin.site.urls),
    # Browsers ask for it by this name on pages that name none, such as the admin's.
    path("favicon.ico", RedirectView.as_view(url=static("marketdata/favicon.svg"))),
]
