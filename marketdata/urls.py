"""Pages of market data."""

from django.urls import path

from marketdata.views import backfill, charts, dashboard, health, proof

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("backfill/", backfill.backfill, name="backfill"),
    path("health-board/", health.health, name="health-board"),
    path("proof/", proof.proof, name="proof"),
    path("notice/", dashboard.notice, name="notice"),
    path("vendor/<str:name>", charts.vendor, name="vendor"),
]
