"""What the Hub answers when it does not serve: status, X-Error-Code and X-Error-Message of each case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

_DENIED = "Invalid username or password."


def _error(status: int, message: str, code: str | None = None, **headers: str) -> HTTPException:
    found = {
        "X-Error-Message": header_text(message),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return HTTPException(status, message, found | ({"X-Error-Code": code} if code else {}))


def header_text(text: str) -> str:
    """`text` as a header may carry it: printable ASCII."""
    return "".join(sign if " " <= sign <= "~" else "?" for sign in text)


def repository_not_found(*, anonymous: bool) -> HTTPException:
    """Missing or private: 401 without a code for the anonymous, so that nobody learns which; 404 with a token."""
    if anonymous:
        return _error(401, _DENIED, WWW_Authenticate='Bearer realm="Authentication required", charset="UTF-8"')
    return _error(404, "Repository not found", "RepoNotFound")


def revision_not_found(revision: str) -> HTTPException:
    """404: no such branch or commit."""
    return _error(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(message: str, commit: str | None = None) -> HTTPException:
    """404: no such file or folder in this revision, which is named where it is known."""
    return _error(404, message, "EntryNotFound", **({"X_Repo_Commit": commit} if commit else {}))


def gated(name: str, *, anonymous: bool) -> HTTPException:
    """401 or 403: the files of a gated repository."""
    if anonymous:
        text = f"Access to model {name} is restricted. You must have access to it and be authenticated to access it."
        return _error(401, f"{text} Please log in.", "GatedRepo")
    return _error(403, f"Access to model {name} is restricted and you are not in the authorized list.", "GatedRepo")


def disabled() -> HTTPException:
    """403: a repository that was taken down."""
    return _error(403, "Access to this resource is disabled.")


def bad_request(message: str) -> HTTPException:
    """400: a parameter that cannot be served."""
    return _error(400, message)


def invalid_expand(valid: Iterable[str]) -> str:
    """The message of the 400 that names the fields `expand` knows."""
    choices = "|".join(f'"{name}"' for name in valid)
    return f"✖ Invalid option: expected one of {choices}"


def moved(request: Request, asked: str, right: str) -> HTTPException:
    """307 to the same address with the right name, relative as the Hub gives it; `asked` may be a bare name."""
    raw: bytes = request.scope.get("raw_path") or request.url.path.encode()
    path = raw.decode("latin-1")
    prefix = next(start for start in ("/api/resolve-cache/models/", "/api/models/", "/") if path.startswith(start))
    # by its segments: the name itself may be percent-encoded
    rest = path.removeprefix(prefix).split("/")[asked.count("/") + 1 :]
    path = prefix + "/".join([right, *rest])
    return HTTPException(307, f"Temporary Redirect. Redirecting to {path}", {"Location": _with_query(path, request)})


def _with_query(path: str, request: Request) -> str:
    return f"{path}?{request.url.query}" if request.url.query else path


async def render(request: Request, error: Exception) -> Response:
    """An HTTPException as the Hub writes it: JSON from the API, plain text elsewhere."""
    if not isinstance(error, HTTPException):
        raise error
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    return PlainTextResponse(error.detail, error.status_code, error.headers)


async def changed(request: Request, error: Exception) -> Response:  # noqa: ARG001  # starlette's signature
    """503: a file changed or vanished between listing and reading it; the client tries again."""
    return JSONResponse({"error": f"The folder changed while it was read: {type(error).__name__}"}, 503)
