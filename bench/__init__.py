"""The benchmark harness: workloads, the builders they are run with, and what is made of the measurements."""
