"""The same by OpenEvolve, run by the python of the environment that has it."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

from openevolve import run_evolution
from openevolve.config import Config, LLMModelConfig

FIRST = "# EVOLVE-BLOCK-START\ndef value():\n    return 0\n# EVOLVE-BLOCK-END\n"
SCORE = "def evaluate(path):\n    return {'combined_score': float(len(open(path).read()))}\n"


def main(url: str, in_flight: int, n: int) -> dict[str, float]:
    """Runs `n` iterations with as many workers as calls in flight.

    `cpu` and `memory` are of all its processes.
    """
    config = Config(
        max_iterations=n, checkpoint_interval=10**9, log_level="ERROR", diff_based_evolution=False
    )
    config.llm.models = [
        LLMModelConfig(name="any", api_base=url, api_key="none", weight=1.0, timeout=60, retries=0)
    ]
    config.llm.evaluator_models = config.llm.models
    for model in config.llm.models:
        model.retry_delay, model.temperature, model.max_tokens, model.system_message = (
            1,
            0.7,
            1000,
            "Improve it.",
        )
    config.evaluator.parallel_evaluations = in_flight
    config.evaluator.cascade_evaluation = False
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "first.py").write_text(FIRST)
        (place / "score.py").write_text(SCORE)
        run_evolution(
            str(place / "first.py"),
            str(place / "score.py"),
            config,
            n,
            str(place / "out"),
            cleanup=False,
        )
    return used(n)


def used(n: int) -> dict[str, float]:
    """Returns CPU-seconds a candidate, of this process and its children that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {"cpu": sum(one.ru_utime + one.ru_stime for one in both) / n}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
