"""The parts that tests and benchmarks drive: a CRI client, a registry, CNI, daemons, leak checks."""
