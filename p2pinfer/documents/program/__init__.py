"""Running a job from the command line: which job it is, and opening its model."""
