"""Measures the page under load, and writes load.md beside this file.

    python results/human_feedback/load.py

Ten raters, a thread each, answer triplets about arms as fast as the page lets them, which no
person does. The page runs in a process of its own, `qdkit rate`. In one setting it is killed (kill
-9) when half of the answers are given, and started again; the raters then say their last answer
once more, as a browser does. Everything that was acknowledged must be in the store, once.
`--quick` makes short runs, and writes nothing.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import qdkit
from qdkit.archives import Grid
from qdkit.domains import Arm
from qdkit.operators import IsoLine
from qdkit.runs.judgements import Judgements

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
RATERS = [f"r{i}" for i in range(10)]
SETTINGS = {
    "answers alone": {"each": 100, "pictures": False, "kill": False},
    "with the three pictures and the map, as browsers ask for them": {
        "each": 15,
        "pictures": True,
        "kill": False,
    },
    "answers alone, killed and started again": {"each": 100, "pictures": False, "kill": True},
}
REPEATS = 3


class Measured(NamedTuple):
    """One run: answers a second; the median and the longest time in ms of a reply with the next
    question; of the pictures of a question; CPU of the page in ms an answer; how many were
    acknowledged, stored and lost."""

    rate: float
    median: float
    worst: float
    pictures: float
    cpu: float
    acknowledged: int
    stored: int
    lost: int


class Server:
    """`qdkit rate` in a process of its own, which can be killed and restarted at the same port."""

    def __init__(self, run: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.run, self.cpu = run, 0.0
        self.start()

    def start(self) -> None:
        """Starts it, and waits for its links."""
        command = [
            sys.executable,
            "-m",
            "qdkit",
            "rate",
            str(self.run),
            "--port",
            str(self.port),
            "--rater",
            *RATERS,
        ]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
        lines = [self.process.stdout.readline() for _ in RATERS]  # type: ignore[union-attr]
        self.links = dict(line.strip().split(": ", 1) for line in lines)
        self.began = self.used()

    def used(self) -> float:
        """Returns CPU-seconds of the process so far."""
        ticks = (
            Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        )
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Kills the process with SIGKILL."""
        self.cpu += self.used() - self.began
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Rater:
    """A rater who answers the questions of a link."""

    def __init__(self, link: str, pictures: bool):
        self.at, self.pictures = urlsplit(link), pictures
        self.line: http.client.HTTPConnection | None = None
        self.heard: list[str] = []  # answers that were acknowledged, by their tokens
        self.times: list[float] = []
        self.drawn: list[float] = []
        self.page = ""

    def asked(self, path: str, body: str | None = None) -> tuple[int, str]:
        """Sends a request, and repeats it until it is answered."""
        headers = {
            "Origin": f"http://{self.at.netloc}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        while True:
            try:
                self.line = self.line or http.client.HTTPConnection(
                    self.at.hostname or "", self.at.port, timeout=30
                )
                self.line.request("POST" if body else "GET", path, body, headers)
                answer = self.line.getresponse()
                said = answer.read()
                if answer.status < 500:
                    return answer.status, said.decode("utf-8", "replace")
            except (OSError, http.client.HTTPException):
                if self.line:
                    self.line.close()
                self.line = None
            time.sleep(0.05)

    def answer(self, each: int) -> None:
        """Answers so many questions."""
        self.page = self.asked(self.at.path)[1]
        for _ in range(each):
            if self.pictures:
                began = time.perf_counter()
                for source in re.findall(r'<img[^>]* src="([^"]+)"', self.page):
                    self.asked(self.at.path + source)
                self.drawn.append(time.perf_counter() - began)
            token = re.findall(r'name="token" value="([^"]+)"', self.page)[0]
            began = time.perf_counter()
            status, sentence = self.asked(
                self.at.path + "reply", urlencode({"token": token, "answer": "1"})
            )
            assert status == 303, sentence
            self.heard.append(token)
            self.page = self.asked(self.at.path)[1]
            self.times.append(time.perf_counter() - began)


def measured(run: Path, each: int, pictures: bool, kill: bool) -> Measured:
    """Measures one run of all raters at the page of `run`."""
    store = Judgements(run)
    before = len(store.since(0))
    server = Server(run)
    raters = [Rater(server.links[name], pictures) for name in RATERS]
    threads = [threading.Thread(target=rater.answer, args=(each,)) for rater in raters]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    if kill:
        while sum(len(rater.heard) for rater in raters) < each * len(raters) / 2:
            time.sleep(0.01)
        server.kill()
        server.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    server.kill()
    rows = store.since(0)[before:]
    store.close()
    heard = Counter(question(token) for rater in raters for token in rater.heard)
    kept = Counter((row.rater, row.ids, row.order) for row in rows)
    times = sorted(1000 * t for rater in raters for t in rater.times)
    drawn = [1000 * t for rater in raters for t in rater.drawn]
    return Measured(
        heard.total() / seconds,
        statistics.median(times),
        times[-1],
        statistics.median(drawn) if drawn else float("nan"),
        1000 * server.cpu / heard.total(),
        heard.total(),
        len(rows),
        (heard - kept).total() + (kept - heard).total(),
    )


def question(token: str) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Returns (rater, ids, order) of a token, which tells the questions of a rater apart."""
    _, ids, order, rater, *_ = json.loads(base64.urlsafe_b64decode(token.partition(".")[0]))
    return rater, tuple(ids), tuple(order)


def arms(run: Path) -> None:
    """Returns the run that is judged: 20,000 arms, some 500 elites."""
    domain = Arm()
    with qdkit.Search(
        domain, Grid((25, 25), domain.bounds), IsoLine(limits=domain.limits), batch=500, folder=run
    ) as search:
        search.run(40, progress=False)


def spread(values: list[float], digits: int) -> str:
    """Returns the median, and the least to the most."""
    if values[0] != values[0]:
        return ""
    median, least, most = (
        f"{x:,.{digits}f}" for x in (statistics.median(values), min(values), max(values))
    )
    return f"{median} ({least} to {most})"


def table(found: dict[str, list[Measured]]) -> str:
    """Returns the table as Markdown."""
    head = (
        "| ten raters at once | answers/s | a reply with the next question, median, ms | "
        "longest, ms | four pictures, median, ms | CPU of the page, ms an answer | acknowledged | "
        "stored | lost or doubled |\n"
    )
    lines = [head + "| --- |" + " --- |" * 8]
    for name, runs in found.items():
        columns = [*zip(*runs, strict=True)]
        cells = [spread(list(column), 1) for column in columns[:5]]
        lines.append(
            f"| {name} | " + " | ".join([*cells, *(f"{sum(c):,}" for c in columns[5:])]) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    """Makes all runs, one after the other."""
    quick = argparse.ArgumentParser(description=__doc__)
    quick.add_argument("--quick", action="store_true")
    short = quick.parse_args().quick
    found: dict[str, list[Measured]] = {name: [] for name in SETTINGS}
    for name, setting in SETTINGS.items():
        for _ in range(1 if short else REPEATS):
            with tempfile.TemporaryDirectory() as folder:
                arms(Path(folder) / "run")
                each = 4 if short else setting["each"]
                found[name].append(measured(Path(folder) / "run", **{**setting, "each": each}))
                print(name, found[name][-1], flush=True)
    text = table(found)
    print(text)
    if not short:
        machine = (
            f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, "
            f"{os.cpu_count()} cores"
        )
        told = (
            f"# The page under load\n\nWritten by `load.py` on {date.today()}; no figure here was "
            f"typed by hand. The "
            f"median stands before (the least to the most) of {REPEATS} runs; acknowledged, "
            f"stored and lost are of all "
            f"runs together. {machine}, shared with others and with the raters.\n\n{text}\n\nThe "
            f"longest wait over a "
            "kill is mostly the start of Python, and of the page, in the process that comes after "
            "it. No rater is as "
            "fast as these: ten people who take four seconds each give 2.5 answers a second.\n"
        )
        (HERE / "load.md").write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
