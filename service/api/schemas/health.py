"""Bodies of the probes."""

from typing import Literal

from pydantic import Field

from service.api.schemas.adaptations import Body


class Liveness(Body):
    """The process runs."""

    status: Literal["alive"] = Field(description="Always `alive`: a process that is not does not answer.")


class ReadinessState(Body):
    """The server can serve."""

    status: Literal["ready"] = Field(description="Always `ready`: otherwise the answer is a problem with status 503.")
    unusable: dict[str, str] = Field(
        description="Why a bundle of the models folder is not served, by its name. Empty if every bundle is served."
    )
