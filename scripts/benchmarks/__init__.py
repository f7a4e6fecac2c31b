"""What `scripts/bench` runs: one module a benchmark, each with `measure(rounds, seconds) -> Result`."""
