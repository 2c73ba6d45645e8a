"""The foundation of the package: data types, elites, stages of a step, and records of calls."""
