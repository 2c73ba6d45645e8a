"""Edits of programs by a language model: patches, rewrites, crossovers and repairs.

`edit` has the operators. `prompts` writes the prompts from the templates beside it, `asking` asks
the model, `reading` parses the blocks of its response, `placing` finds their places in the
program, and `applying` applies them. A response is only data: none of it is executed here.
"""

from qdkit.operators.edits.edit import Cross, Full, Patch, Repair, programmer

__all__ = ["Cross", "Full", "Patch", "Repair", "programmer"]
