"""What the service costs, beside what people would write instead. `make bench` runs it; see docs/performance.md."""
