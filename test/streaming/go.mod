// SPDY as the Go clients of Kubernetes write it: makes the vectors of spdy-vectors-test.
module belay.test/streaming

go 1.26.2

require github.com/moby/spdystream v0.5.1
