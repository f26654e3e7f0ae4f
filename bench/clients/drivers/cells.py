"""What every driver asks, and how it tells what came: a line of JSON for each cell of the table."""

import json
import time

SKY = "What colour is the sky?"
SEA = "Tell me of the sea."
WHY = "Why is the sky blue?"
CITY = "Name a city."
WEATHER = "What is the weather in Rome?"
PICTURE = "What is in this picture?"
TIDE = "When does the tide turn?"
ENDLESS = "Tell me an endless story."
NOTE = "Read note.txt with your shell and tell me what it says."

SUNNY = "18 degrees and sunny"
MISSING = "no-such-model"
BROKEN = "broken"
EMBEDDER = "nomic-embed-text"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
"""One pixel."""


def cell(function):
    """Run *function*, and print what it gives, or what it raises, under its name."""
    try:
        said = function()
    except Exception as error:  # noqa: BLE001  # whatever a client raises is told
        said = {"raised": f"{type(error).__name__}: {error}"}
    print(json.dumps({"cell": function.__name__, **said}), flush=True)
    if "left" in said:  # stay, so that what ends the call is the client's leaving and not the end of this process
        time.sleep(0.3)
    return function


def raised(function):
    """What *function* raises: its type and what it says."""
    try:
        function()
    except Exception as error:  # noqa: BLE001  # whatever a client raises is told
        return {"type": type(error).__name__, "message": str(error)}
    return {"type": "", "message": "nothing was raised"}


def now():
    """The machine's monotonic clock, which the runner reads too."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
