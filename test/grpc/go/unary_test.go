// Unary calls by grpc-go: replies, statuses, metadata, sizes, compression, concurrency.
package grpc_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"belay.test/grpc/probe"
)

func expectStatus(t *testing.T, err error, code codes.Code, part string) {
	t.Helper()
	if status.Code(err) != code || !strings.Contains(status.Convert(err).Message(), part) {
		t.Fatalf("expected %v with %q, got %v", code, part, err)
	}
}

func TestUnary(t *testing.T) {
	conn := startServer(t).dial()
	for _, payload := range []string{"", "hello", "bytes \x00\xff\xfe"} {
		reply, err := echo(background(t), conn, &probe.EchoRequest{Payload: []byte(payload)})
		check(t, err)
		if string(reply.Payload) != payload {
			t.Fatalf("sent %q, got %q", payload, reply.Payload)
		}
	}
}

func TestEveryCodeWithItsUtf8Message(t *testing.T) {
	conn := startServer(t).dial()
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		message := fmt.Sprintf("žluťoučký kůň 🐎 100%% %d\nnext line", code)
		err := conn.Invoke(background(t), service+"Fail",
			&probe.FailRequest{Code: uint32(code), Message: message}, &probe.EchoReply{})
		if status.Code(err) != code || status.Convert(err).Message() != message {
			t.Fatalf("expected %v %q, got %v", code, message, err)
		}
	}
}

func TestLongMessageArrivesCut(t *testing.T) {
	conn := startServer(t).dial()
	err := conn.Invoke(background(t), service+"Fail",
		&probe.FailRequest{Code: uint32(codes.NotFound), Message: strings.Repeat("é", 100_000)},
		&probe.EchoReply{})
	expectStatus(t, err, codes.NotFound, "éé…")
}

func TestThrownExceptionIsInternal(t *testing.T) {
	conn := startServer(t).dial()
	err := conn.Invoke(background(t), service+"Throw", &probe.FailRequest{Message: "why"},
		&probe.EchoReply{})
	expectStatus(t, err, codes.Internal, "why")
}

func TestUnimplemented(t *testing.T) {
	conn := startServer(t).dial()
	err := conn.Invoke(background(t), service+"Nothing", &probe.EchoRequest{}, &probe.EchoReply{})
	expectStatus(t, err, codes.Unimplemented, "Nothing")
	err = conn.Invoke(background(t), "/no.Service/Echo", &probe.EchoRequest{}, &probe.EchoReply{})
	expectStatus(t, err, codes.Unimplemented, "no.Service")
}

func TestMetadataAndTrailers(t *testing.T) {
	conn := startServer(t).dial(grpc.WithUserAgent("probe-client/1"))
	traceparent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := metadata.AppendToOutgoingContext(background(t), "traceparent", traceparent)
	reply := &probe.MetadataReply{}
	check(t, conn.Invoke(ctx, service+"Metadata", &probe.MetadataRequest{}, reply))
	got := map[string]string{}
	for _, entry := range reply.Entries {
		got[entry.Name] = entry.Value
	}
	if got["traceparent"] != traceparent || !strings.HasPrefix(got["user-agent"], "probe-client/1 grpc-go/") {
		t.Fatalf("the server saw %v", got)
	}
	if reply.TimeLeftMs <= 0 || reply.TimeLeftMs > patience.Milliseconds() {
		t.Fatalf("the server saw %d ms left", reply.TimeLeftMs)
	}
	check(t, conn.Invoke(context.Background(), service+"Metadata", &probe.MetadataRequest{}, reply))
	if reply.TimeLeftMs != -1 {
		t.Fatalf("no deadline was set, the server saw %d ms left", reply.TimeLeftMs)
	}

	var trailer metadata.MD
	err := conn.Invoke(background(t), service+"Fail", &probe.FailRequest{
		Code: 9, Message: "m", Trailers: map[string]string{"x-why": "because", "x-raw-bin": "é"},
	}, &probe.EchoReply{}, grpc.Trailer(&trailer))
	expectStatus(t, err, codes.FailedPrecondition, "m")
	if fmt.Sprint(trailer["x-why"], trailer["x-raw-bin"]) != "[because] [é]" {
		t.Fatalf("trailers: %v", trailer)
	}
}

func TestTooMuchMetadataIsRefused(t *testing.T) {
	conn := startServer(t).dial()
	ctx := metadata.AppendToOutgoingContext(background(t), "x-large", strings.Repeat("x", 70_000))
	if _, err := echo(ctx, conn, &probe.EchoRequest{}); err == nil {
		t.Fatal("a header list above the limit was accepted")
	}
	_, err := echo(background(t), conn, &probe.EchoRequest{})
	check(t, err)
}

func TestGzip(t *testing.T) {
	conn := startServer(t).dial()
	payload := bytes.Repeat([]byte("compress me "), 100_000)
	reply, err := echo(background(t), conn, &probe.EchoRequest{Payload: payload},
		grpc.UseCompressor(gzip.Name))
	check(t, err)
	if !bytes.Equal(reply.Payload, payload) {
		t.Fatal("the payload came back changed")
	}
	// 17 MB of zeros are 17 KB on the wire.
	_, err = echo(background(t), conn, &probe.EchoRequest{Payload: make([]byte, 17*mebibyte)},
		grpc.UseCompressor(gzip.Name))
	expectStatus(t, err, codes.ResourceExhausted, "inflates to more than the limit")
}

func TestLargeMessages(t *testing.T) {
	conn := startServer(t).dial()
	payload := bytes.Repeat([]byte("0123456789abcde"), mebibyte)
	reply, err := echo(background(t), conn, &probe.EchoRequest{Payload: payload})
	check(t, err)
	if !bytes.Equal(reply.Payload, payload) {
		t.Fatal("15 MiB came back changed")
	}

	_, err = echo(background(t), conn, &probe.EchoRequest{Payload: make([]byte, 17*mebibyte)})
	expectStatus(t, err, codes.ResourceExhausted, "the request of 17825797 bytes exceeds")
	_, err = echo(background(t), conn, &probe.EchoRequest{ReplyBytes: 17 * mebibyte})
	expectStatus(t, err, codes.ResourceExhausted, "the reply of 17825797 bytes exceeds")
	_, err = echo(background(t), conn, &probe.EchoRequest{Payload: []byte("still alive")})
	check(t, err)
}

func TestThousandConcurrentCalls(t *testing.T) {
	conn := startServer(t).dial()
	var calls sync.WaitGroup
	for i := 0; i < 1000; i++ {
		calls.Add(1)
		go func() {
			defer calls.Done()
			payload := fmt.Sprint("call ", i)
			reply, err := echo(background(t), conn, &probe.EchoRequest{Payload: []byte(payload)})
			if err != nil || string(reply.Payload) != payload {
				t.Errorf("call %d: %v %q", i, err, reply.Payload)
			}
		}()
	}
	calls.Wait()
}
