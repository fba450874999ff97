// The peer that the benchmarks and the tests of the tests run against.
module belay.test/tools/containerd

go 1.26

require github.com/containerd/containerd/v2 v2.1.9
