# SPDX-License-Identifier: GPL-3.0-or-later
"""A headless Chromium with one page, driven by its DevTools protocol over pipes."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# By whichever user the tests run; nothing is fetched, and no other profile is touched.
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--hide-scrollbars",
)
# How keys are known to the protocol: the number that Windows gives them, and the text that they type.
KEYS = {
    "Enter": (13, "\r"),
    " ": (32, " "),
    "Tab": (9, ""),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    "/": (191, "/"),
}


class Page:
    """The page, and what it told its console meanwhile."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = os.fdopen(answers, "rb")
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def attach(self) -> None:
        """Take the one page that there is."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        """Do one command, and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._received()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def wait(self, method: str) -> None:
        """Wait for an event."""
        while self._received().get("method") != method:
            pass

    def _received(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            data += byte
        message: dict[str, Any] = json.loads(data)
        parameters = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif message.get("method") == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        return message

    def open(self, file: Path) -> None:
        """Open a file, and wait until it is loaded."""
        self.send("Page.navigate", url=file.as_uri())
        self.wait("Page.loadEventFired")

    def say(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press keys one after the other, as a person does."""
        for key in keys:
            number, text = KEYS.get(key) or (ord(key.upper()), key)
            event = {"key": key, "windowsVirtualKeyCode": number}
            self.send("Input.dispatchKeyEvent", type="keyDown", **event, **({"text": text} if text else {}))
            self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def look(self, file: Path, width: int = 1200, height: int = 900, dark: bool = False, whole: bool = False) -> None:
        """Take a picture of what is to be seen, or of the whole page."""
        self.show(width, height, dark)
        picture = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(picture["data"]))

    def show(self, width: int, height: int, dark: bool = False) -> None:
        """Have the page so large, light or dark."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with its profile in this folder, for the time of a with block."""
    (to_read, commands), (answers, to_write) = os.pipe(), os.pipe()
    # The protocol is spoken over the descriptors 3 and 4; a shell redirects none of two digits.
    command = [
        "sh",
        "-c",
        f'exec "$@" 3</proc/self/fd/{to_read} 4>/proc/self/fd/{to_write}',
        "sh",
        "chromium",
        *OPTIONS,
    ]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={folder / 'profile'}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(to_read, to_write),
        env={**os.environ, "HOME": str(folder)},
    )
    os.close(to_read)
    os.close(to_write)
    page = Page(commands, answers)
    try:
        page.attach()
        yield page
    finally:
        process.kill()
        process.wait()
        os.close(commands)
