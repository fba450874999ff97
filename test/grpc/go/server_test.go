// The gRPC library's probe server (probe-server.c++) as these tests start and drive it.
//
// Run by ../grpc_test.py, which generates the package probe and sets PROBE_SERVER.
package grpc_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"belay.test/grpc/probe"
)

const (
	service   = "/belay.test.grpc.Probe/"
	patience  = 60 * time.Second
	mebibyte  = 1 << 20
	unlimited = 1 << 30
)

type server struct {
	t       *testing.T
	socket  string
	process *exec.Cmd
	lines   chan string
}

// Starts a server of the test's own, and ends it with the test.
func startServer(t *testing.T) *server {
	t.Helper()
	folder, err := os.MkdirTemp("", "belay-grpc-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })

	s := &server{t: t, socket: filepath.Join(folder, "probe.sock"), lines: make(chan string, 4096)}
	s.process = exec.Command(os.Getenv("PROBE_SERVER"), s.socket)
	s.process.Stderr = os.Stderr
	stdout, err := s.process.StdoutPipe()
	check(t, err)
	check(t, s.process.Start())
	t.Cleanup(func() {
		if s.process.ProcessState == nil {
			s.process.Process.Kill()
			s.process.Wait()
		}
	})
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
	}()
	s.expect("ready")
	return s
}

// Waits for the server to print exactly this line next.
func (s *server) expect(line string) {
	s.t.Helper()
	select {
	case got, ok := <-s.lines:
		if !ok || got != line {
			s.t.Fatalf("the server said %q, not %q", got, line)
		}
	case <-time.After(patience):
		s.t.Fatalf("the server did not say %q", line)
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	check(s.t, s.process.Process.Signal(sig))
}

func (s *server) dial(options ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	options = append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(unlimited), grpc.MaxCallSendMsgSize(unlimited)))
	conn, err := grpc.NewClient("unix://"+s.socket, options...)
	check(s.t, err)
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

func background(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func echo(ctx context.Context, conn *grpc.ClientConn, request *probe.EchoRequest,
	options ...grpc.CallOption) (*probe.EchoReply, error) {
	reply := &probe.EchoReply{}
	return reply, conn.Invoke(ctx, service+"Echo", request, reply, options...)
}

// The server's counters, once so many handlers were dropped.
func counters(t *testing.T, conn *grpc.ClientConn, waitForDropped uint32) *probe.CountersReply {
	t.Helper()
	reply := &probe.CountersReply{}
	check(t, conn.Invoke(background(t), service+"Counters",
		&probe.CountersRequest{WaitForDropped: waitForDropped}, reply))
	return reply
}

// Opens a server-streaming call.
func open(t *testing.T, ctx context.Context, conn *grpc.ClientConn, method string,
	request any) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, service+method)
	check(t, err)
	check(t, stream.SendMsg(request))
	check(t, stream.CloseSend())
	return stream
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
