"""The status page: a few files, from the wheel, that load nothing from anywhere else."""

from __future__ import annotations

from importlib.resources import files

SCRIPTS = ("page", "api", "charts", "decision", "dom", "playground", "requests")
FILES = {
    "/": ("index.html", b"text/html; charset=utf-8"),
    "/page.css": ("page.css", b"text/css; charset=utf-8"),
    "/page.svg": ("page.svg", b"image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", b"text/javascript; charset=utf-8") for name in SCRIPTS},
}
"""By path: the file, and its content type."""
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
]
"""No script, style or frame but our own files: what models write cannot become any of them."""


def read(path: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The file at *path*, one of ``FILES``, and its headers."""
    name, content_type = FILES[path]
    return (files(__package__) / name).read_bytes(), [(b"content-type", content_type), *HEADERS]
