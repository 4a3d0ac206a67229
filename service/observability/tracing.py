"""OpenTelemetry traces, enabled by WTL_TRACES. The standard OTEL_* variables set their destination."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from metalearn import __version__


def exporting() -> TracerProvider:
    """Make a provider that sends spans over OTLP, as `watch-try-learn` unless OTEL_SERVICE_NAME is set."""
    resource = Resource.create({"service.version": __version__})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "watch-try-learn"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
