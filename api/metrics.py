"""What a monitor watches, in Prometheus' text: the queue, open questions to EHRs, and what this process has done."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from domain.ports import Clock, Depth, JobReads

Unknown = tuple[int, datetime | None]
Tally = Mapping[tuple[str, str], int]


def metrics_route(jobs: JobReads, unknown: Callable[[], Awaitable[Unknown]], tally: Tally, clock: Clock) -> Route:
    """Two statements a look. Labels are kinds and states, never anybody's."""

    async def metrics(_: Request) -> Response:
        now = clock.now()
        registry = CollectorRegistry()
        registry.register(Looked([*_queue(await jobs.depth(now), now), *_open(await unknown(), now), _done(tally)]))
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return Route("/metrics", metrics)


class Looked(Collector):
    """What was found by one look."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def _queue(depths: Sequence[Depth], now: datetime) -> Iterable[Metric]:
    count = GaugeMetricFamily("itb_jobs", "Jobs that are not done, by kind and state.", labels=["kind", "state"])
    age = GaugeMetricFamily(
        "itb_job_oldest_seconds", "Seconds since the oldest should have been done.", labels=["kind"]
    )
    for each in depths:
        count.add_metric([each.kind, each.state], each.count)
    for kind in dict.fromkeys(each.kind for each in depths):
        oldest = [each.oldest for each in depths if each.kind == kind and each.oldest]
        age.add_metric([kind], _seconds(min(oldest, default=None), now))
    return count, age


def _open(unknown: Unknown, now: datetime) -> Iterable[Metric]:
    count, oldest = unknown
    told = "Seconds since an EHR owes an answer about the oldest of them."
    yield GaugeMetricFamily("itb_bookings_unknown", "Bookings that no EHR has answered for.", value=count)
    yield GaugeMetricFamily("itb_booking_unknown_oldest_seconds", told, value=_seconds(oldest, now))


def _done(tally: Tally) -> Metric:
    told = "Jobs that this process has finished, failed at, given up (dead) and lost to another."
    done = CounterMetricFamily("itb_jobs_done", told, labels=["kind", "outcome"])
    for (kind, outcome), count in sorted(tally.items()):
        done.add_metric([kind, outcome], count)
    return done


def _seconds(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0
