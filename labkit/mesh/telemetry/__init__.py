"""What the proxies counted: scraped from each of them, or asked of a Prometheus that scrapes them."""

from labkit.mesh.telemetry import prometheus
from labkit.mesh.telemetry.names import LABELS, UNKNOWN
from labkit.mesh.telemetry.rates import NoTraffic, edges, graph, histogram_quantile, increase, received, red
from labkit.mesh.telemetry.scraping import Scrape, Scraper, labels, requests, scrape

__all__ = [
    "LABELS", "UNKNOWN", "NoTraffic", "Scrape", "Scraper",
    "edges", "graph", "histogram_quantile", "increase", "labels", "prometheus", "received", "red", "requests", "scrape",
]  # fmt: skip
