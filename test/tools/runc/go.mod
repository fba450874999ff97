// The peer that the benchmarks and the tests of the tests run against.
module belay.test/tools/runc

go 1.26

require github.com/opencontainers/runc v1.3.6
