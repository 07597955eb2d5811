"""What scripts/bench_* measure: a folder for each subject.

scripts/bench_* start the modules as `python -m scripts.benchmarks.FOLDER.MODULE`.

- chaos/: servers die, fall silent and leave under sessions that generate
- wan/: delays, slow uplinks and loss
- throughput/: streams, batches, prompts and hops against other programs and memory
- contenders/: the processes that are compared, and the turns that they take
- engine/: one machine: start and memory, accuracy, kernels
- owner/: what a server costs its owner, and how soon it obeys; receipts that survive a kill
- health/: the health page under load, and its pictures
- shared/: flags, reports, and processes on any host
"""
