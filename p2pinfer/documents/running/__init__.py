"""Running a job: documents through the swarm, outcomes into the store and into files."""
