"""Edits of programs by a language model: patches, rewrites, crossovers and repairs.

`edit` holds the operators; `showing` writes what a model is asked, from the templates beside it;
`asking` asks, and asks once more; `reading` finds blocks in what it answers, and `applying` puts
them into the program. An answer is data: nothing of it is run here.
"""

from qdkit.operators.edits.edit import Cross, Full, Patch, Repair, programmer

__all__ = ["Cross", "Full", "Patch", "Repair", "programmer"]
