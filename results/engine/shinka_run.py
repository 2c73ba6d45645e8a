"""The same by ShinkaEvolve, run by the python of the environment that has it."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

from shinka.core import EvolutionConfig, ShinkaEvolveRunner
from shinka.database import DatabaseConfig
from shinka.launch import LocalJobConfig

FIRST = "# EVOLVE-BLOCK-START\ndef value():\n    return 0\n# EVOLVE-BLOCK-END\n"
SCORE = """import argparse, json, os
parser = argparse.ArgumentParser()
parser.add_argument("--program_path")
parser.add_argument("--results_dir")
asked = parser.parse_args()
os.makedirs(asked.results_dir, exist_ok=True)
score = float(len(open(asked.program_path).read()))
folder = asked.results_dir
json.dump({"correct": True, "error": None}, open(os.path.join(folder, "correct.json"), "w"))
found = {"combined_score": score, "public": {}, "private": {}}
json.dump(found, open(os.path.join(folder, "metrics.json"), "w"))
"""


def main(url: str, in_flight: int, n: int) -> dict[str, float]:
    """Runs `n` generations, with as many proposals and evaluations at a time as calls in flight.

    The runner lowers both to what the number of cores allows; without `verbose` it does not say
    so.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "first.py").write_text(FIRST)
        (place / "score.py").write_text(SCORE)
        evolution = EvolutionConfig(
            num_generations=n,
            patch_types=["full"],
            patch_type_probs=[1.0],
            llm_models=[f"local/any@{url}"],
            llm_dynamic_selection=None,
            llm_kwargs={"temperatures": 0.7, "max_tokens": 1000},
            meta_rec_interval=None,
            embedding_model=None,
            init_program_path=str(place / "first.py"),
            results_dir=str(place / "out"),
        )
        ShinkaEvolveRunner(
            evo_config=evolution,
            job_config=LocalJobConfig(eval_program_path=str(place / "score.py")),
            db_config=DatabaseConfig(db_path="programs.sqlite"),
            verbose=False,
            max_evaluation_jobs=in_flight,
            max_proposal_jobs=in_flight,
        ).run()
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {"cpu": sum(one.ru_utime + one.ru_stime for one in both) / n}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
