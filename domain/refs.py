"""Names for things that live in somebody else's record system."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class EhrRef:
    """One resource in one EHR. FHIR ids are only unique within an endpoint, and may hold any character."""

    endpoint: str
    id: str
