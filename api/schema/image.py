"""Pictures of clinics, practitioners and banners."""

from typing import TYPE_CHECKING, Annotated, Optional

import strawberry

from api.errors import BadInput
from api.schema.scalars import URL
from domain.clinic import Image as ImageEntity
from domain.text import said_in

if TYPE_CHECKING:
    from api.context import Context

WIDEST = 4096


@strawberry.type(description="A picture, by address.")
class Image:
    address: strawberry.Private[str]
    width: int = strawberry.field(description="Of the original, in CSS pixels, to keep its place while it loads.")
    height: int = strawberry.field(description="Of the original, in CSS pixels.")
    alt_text: str = strawberry.field(
        description="What the picture shows, for those who cannot see it; empty for mere decoration."
    )

    @strawberry.field(description="Where to fetch the picture.")
    def url(
        self,
        width: Annotated[
            int | None,
            strawberry.argument(
                description=f"How wide it will be shown, in CSS pixels, 1 to {WIDEST}: the answer may be a smaller "
                "file that is wide enough. Without it, the original."
            ),
        ] = strawberry.UNSET,
    ) -> URL:
        if width is not None and width is not strawberry.UNSET and not 1 <= width <= WIDEST:
            raise BadInput(f"`width` must be between 1 and {WIDEST}.")
        return self.address

    @classmethod
    def of(cls, image: ImageEntity | None, context: "Context") -> Optional["Image"]:
        if image is None:
            return None
        alt_text = said_in(image.alt_text, context.languages) or ""
        return cls(address=image.url, width=image.width, height=image.height, alt_text=alt_text)
