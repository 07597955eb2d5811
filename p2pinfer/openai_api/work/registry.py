"""The models that a gateway has now."""

from __future__ import annotations

from collections.abc import Iterable

from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.work.served_model import ServedModel
from p2pinfer.plain_text import printable

_MOST_NAMED = 20
_LOADING_RETRY_SECONDS = 5.0


class Models:
    """Served models by id. For the event loop; models may come at any time."""

    def __init__(self, models: Iterable[ServedModel] = ()) -> None:
        self._models = {model.id: model for model in models}

    def add(self, model: ServedModel) -> None:
        """Serve one more."""
        self._models[model.id] = model

    def list(self) -> list[ServedModel]:
        """All of them, by name."""
        return sorted(self._models.values(), key=lambda model: model.id)

    def get(self, name: str) -> ServedModel | None:
        """The model of this name, if it is served now."""
        return self._models.get(name)

    def find(self, name: str) -> ServedModel:
        """The model that a client asks for.

        Raises ApiError: 404, naming the models there are; 503 while there is none yet.
        """
        model = self._models.get(name)
        if model is not None:
            return model
        if not self._models:
            raise ApiError(
                503,
                "This gateway has no model yet: it looks for one in the swarm.",
                kind="server_error",
                code="no_model_yet",
                retry_after_seconds=_LOADING_RETRY_SECONDS,
            )
        names = [printable(model.id, 100) for model in self.list()]
        more = f", and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        raise ApiError(
            404,
            f"The model '{printable(name, 100)}' isn't served here. "
            f"There is {', '.join(names[:_MOST_NAMED])}{more}.",
            param="model",
            code="model_not_found",
        )
