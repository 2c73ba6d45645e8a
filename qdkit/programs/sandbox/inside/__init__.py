"""The code that runs inside the sandbox: the zygote and the candidate.

It uses only the standard library and nothing else of qdkit. The parent imports this package as
`qdkit.programs.sandbox.inside`; a zygote, which can see this folder and no other of qdkit, imports
it as `inside`.
"""
