"""Pages of market data."""

from django.urls import path

from marketdata.views import charts, dashboard

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("notice/", dashboard.notice, name="notice"),
    path("vendor/<str:name>", charts.vendor, name="vendor"),
]
