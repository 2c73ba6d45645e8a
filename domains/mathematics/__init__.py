"""Open problems of mathematics with exact referees, and their solvers."""
