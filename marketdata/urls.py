"""Pages of market data."""

from django.urls import path

from marketdata.views import backfill, charts, compare, dashboard, health, market, proof

urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("backfill/", backfill.backfill, name="backfill"),
    path("compare/", compare.side_by_side, name="compare"),
    path("market/", market.market, name="market"),
    path("health-board/", health.health, name="health-board"),
    path("proof/", proof.proof, name="proof"),
    path("notice/", dashboard.notice, name="notice"),
    path("vendor/<str:name>", charts.vendor, name="vendor"),
]
