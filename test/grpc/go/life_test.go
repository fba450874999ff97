// How calls end before their time, by grpc-go: deadlines, cancellation, lost connections, drain;
// and streams.
package grpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"

	"belay.test/grpc/probe"
)

func TestDeadlineDropsTheHandler(t *testing.T) {
	s := startServer(t)
	conn := s.dial()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	err := conn.Invoke(ctx, service+"Hold", &probe.HoldRequest{}, &probe.EchoReply{})
	expectStatus(t, err, codes.DeadlineExceeded, "")
	counters(t, conn, 1)
}

func TestCancelDropsTheHandler(t *testing.T) {
	s := startServer(t)
	conn := s.dial()
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() {
		result <- conn.Invoke(ctx, service+"Hold", &probe.HoldRequest{}, &probe.EchoReply{})
	}()
	s.expect("held")
	cancel()
	expectStatus(t, <-result, codes.Canceled, "")
	counters(t, conn, 1)
}

func TestCancelDropsTheHandlerOfAStream(t *testing.T) {
	s := startServer(t)
	conn := s.dial()
	ctx, cancel := context.WithCancel(context.Background())
	stream := open(t, ctx, conn, "HoldStream", &probe.HoldRequest{})
	check(t, stream.RecvMsg(&probe.Item{}))
	s.expect("held")
	cancel()
	expectStatus(t, stream.RecvMsg(&probe.Item{}), codes.Canceled, "")
	counters(t, conn, 1)
}

func TestLostConnectionDropsItsHandlers(t *testing.T) {
	s := startServer(t)
	doomed := s.dial()
	go doomed.Invoke(context.Background(), service+"Hold", &probe.HoldRequest{}, &probe.EchoReply{})
	s.expect("held")
	doomed.Close()
	if got := counters(t, s.dial(), 1); got.Held != 1 || got.Dropped != 1 {
		t.Fatalf("counters: %v", got)
	}
}

func TestThousandCancelledCallsLeaveTheConnectionAlive(t *testing.T) {
	s := startServer(t)
	conn := s.dial()
	ctx, cancel := context.WithCancel(context.Background())
	results := make(chan error)
	const count = 900
	for i := 0; i < count; i++ {
		go func() {
			results <- conn.Invoke(ctx, service+"Hold", &probe.HoldRequest{}, &probe.EchoReply{})
		}()
	}
	for i := 0; i < count; i++ {
		s.expect("held")
	}
	cancel()
	for i := 0; i < count; i++ {
		expectStatus(t, <-results, codes.Canceled, "")
	}
	if got := counters(t, conn, count); got.Connections != 1 {
		t.Fatalf("counters: %v", got)
	}
}

func TestStreamEndsWithItsStatus(t *testing.T) {
	conn := startServer(t).dial()
	stream := open(t, background(t), conn, "Count",
		&probe.CountRequest{Count: 2, Code: uint32(codes.DataLoss), Message: "that was all ❄"})
	item := &probe.Item{}
	check(t, stream.RecvMsg(item))
	check(t, stream.RecvMsg(item))
	expectStatus(t, stream.RecvMsg(item), codes.DataLoss, "that was all ❄")

	empty := open(t, background(t), conn, "Count", &probe.CountRequest{})
	if err := empty.RecvMsg(item); !errors.Is(err, io.EOF) {
		t.Fatalf("an empty stream ended with %v", err)
	}
}

// 20 000 messages of 4 KiB are more than any window: the server must wait for a client that does
// not read, and hold no more than a little of them meanwhile.
func TestSlowReaderGetsEveryMessageInOrder(t *testing.T) {
	s := startServer(t)
	const count = 20_000
	stream := open(t, background(t), s.dial(), "Count",
		&probe.CountRequest{Count: count, BytesEach: 4096})
	item := &probe.Item{}
	check(t, stream.RecvMsg(item))

	written := writtenWhenStalled(t, s.dial())
	if written >= count {
		t.Fatalf("the server wrote all %d messages to a client that read one", written)
	}
	for i := uint32(1); i < count; i++ {
		check(t, stream.RecvMsg(item))
		if item.Index != i || len(item.Payload) != 4096 {
			t.Fatalf("expected item %d, got %d of %d bytes", i, item.Index, len(item.Payload))
		}
	}
	if err := stream.RecvMsg(item); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ended with %v", err)
	}
	if peak := peakKiB(t, s.process.Process.Pid); peak > 40*1024 {
		t.Fatalf("the server needed %d KiB for it", peak)
	}
}

// The number of messages written once it no longer changes.
func writtenWhenStalled(t *testing.T, conn *grpc.ClientConn) uint64 {
	t.Helper()
	var last uint64
	for same := 0; same < 300; same++ {
		now := counters(t, conn, 0).Items
		if now != last {
			last, same = now, 0
		}
	}
	return last
}

func peakKiB(t *testing.T, pid int) (peak int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	check(t, err)
	for _, line := range strings.Split(string(status), "\n") {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &peak); err == nil {
			return peak
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// A call in progress at SIGTERM ends well; the client learns to go elsewhere, finds nobody there,
// and the server ends when the call has.
func TestDrain(t *testing.T) {
	s := startServer(t)
	conn := s.dial()
	reply := &probe.EchoReply{}
	result := make(chan error)
	go func() {
		result <- conn.Invoke(background(t), service+"Hold", &probe.HoldRequest{}, reply)
	}()
	s.expect("held")

	s.signal(syscall.SIGTERM)
	s.expect("draining")
	if !conn.WaitForStateChange(background(t), connectivity.Ready) {
		t.Fatal("the client got no GOAWAY")
	}
	_, err := echo(background(t), conn, &probe.EchoRequest{})
	expectStatus(t, err, codes.Unavailable, "")

	s.signal(syscall.SIGUSR2)
	check(t, <-result)
	if string(reply.Payload) != "released" {
		t.Fatalf("the held call got %q", reply.Payload)
	}
	check(t, s.process.Wait())
}
