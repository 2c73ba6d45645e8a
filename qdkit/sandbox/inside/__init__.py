"""What runs within the walls: the zygote and the candidate. Standard library only, nothing of qdkit.

The parent's interpreter knows this package as `qdkit.sandbox.inside`; a zygote, which sees this
folder and no other of qdkit, knows it as `inside`.
"""
