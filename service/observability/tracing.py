"""OpenTelemetry traces, when WTL_TRACES asks for them. Where they go is said by the standard OTEL_* variables."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from metalearn import __version__


def exporting() -> TracerProvider:
    """A provider that sends spans over OTLP, under our name unless OTEL_SERVICE_NAME gives another."""
    resource = Resource.create({"service.version": __version__})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "watch-try-learn"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
