"""wrk as the client: a closed loop of so many connections, and what it reports."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

MARK = "REPORT "
SCRIPT = """
local template = [==[%(body)s]==]
local before, after = template:match("^(.-)@(.*)$")
local count, thread = 0, 0
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
%(headers)s
function setup(each) thread = thread + 1; each:set("number", thread) end
if before then
  function request()
    count = count + 1
    return wrk.format(nil, nil, nil, before .. "%(run)s-" .. number .. "-" .. count .. after)
  end
else
  wrk.body = template
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '%(mark)s{"requests":%%d,"microseconds":%%d,"bytes":%%d,"refused":%%d,"broken":%%d,'
    .. '"p50":%%f,"p99":%%f,"longest":%%f}\\n',
    summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


class Report(NamedTuple):
    """
    What wrk saw.

    Attributes:
        requests: that got a whole response.
        seconds: it took.
        refused: of the requests, those with another status than 2xx or 3xx.
        broken: connections and requests without a response.
        p50: seconds from request to response, as *p99* and *longest*.
    """

    requests: int
    seconds: float
    bytes: int
    refused: int
    broken: int
    p50: float
    p99: float
    longest: float

    @property
    def answered(self) -> int:
        """Requests that got what they asked for."""
        return self.requests - self.refused


def parse(output: str) -> Report:
    """What the script in *output* says; raises ValueError where it says nothing."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise ValueError(f"wrk says nothing of what it saw: {output[-300:]!r}")
    said = json.loads(line.removeprefix(MARK))
    return Report(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        bytes=said["bytes"],
        refused=said["refused"],
        broken=said["broken"],
        p50=said["p50"] / 1e6,
        p99=said["p99"] / 1e6,
        longest=said["longest"] / 1e6,
    )


class Posts(NamedTuple):
    """
    What is posted, again and again.

    Attributes:
        body: an ``@`` in it is replaced by a text that no other request has; without one all are equal.
        headers: beside Content-Type.
    """

    url: str
    body: str
    headers: tuple[tuple[str, str], ...] = ()


def drive(posts: Posts, *, connections: int, seconds: float, run: str, timeout: float = 30.0) -> Report:
    """Post for *seconds* over *connections*; *run* tells the requests of this run from those of others."""
    headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in posts.headers)
    script = SCRIPT % {"body": posts.body, "headers": headers, "run": run, "mark": MARK}
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="utf-8") as file:
        file.write(script)
        file.flush()
        words = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={timeout:g}s"]
        done = subprocess.run([*words, "-s", file.name, posts.url], capture_output=True, text=True, check=False)  # noqa: S603
    try:
        return parse(done.stdout)
    except ValueError as error:
        raise RuntimeError(f"{Path('wrk')}: {error} {done.stderr[-300:]}") from None
