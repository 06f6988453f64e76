"""The application with faults before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hublineage.hub.asked import asked

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from hublineage.hub.faults import Faults


class FaultMiddleware:
    """The ASGI application `app` with `faults` before it."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, with the faults that apply to it."""
        app = self._app
        if scope["type"] == "http":
            for wrap in reversed(self._faults.plan(asked(scope))):
                app = wrap(app)
        await app(scope, receive, send)
