// Prints, in hexadecimal, the frames with which a client of Go's spdystream opens two streams, sends and
// half-closes, pings and leaves. criapi/streaming/spdy-vectors-test.c++ holds its output.
package main

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/moby/spdystream/spdy"
)

func main() {
	var out bytes.Buffer
	framer, err := spdy.NewFramer(&out, &out)
	if err != nil {
		panic(err)
	}
	header := func(kind, request string) http.Header {
		return http.Header{"Streamtype": {kind}, "Port": {"8080"}, "Requestid": {request}}
	}
	frames := []spdy.Frame{
		&spdy.SynStreamFrame{StreamId: 1, Headers: header("error", "17")},
		&spdy.DataFrame{StreamId: 1, Flags: spdy.DataFlagFin},
		&spdy.SynStreamFrame{StreamId: 3, Headers: header("data", "17")},
		&spdy.DataFrame{StreamId: 3, Data: []byte("hello")},
		&spdy.PingFrame{Id: 5},
		&spdy.RstStreamFrame{StreamId: 3, Status: spdy.Cancel},
		&spdy.GoAwayFrame{LastGoodStreamId: 0, Status: spdy.GoAwayOK},
	}
	for _, frame := range frames {
		if err := framer.WriteFrame(frame); err != nil {
			panic(err)
		}
		fmt.Printf("%x\n", out.Bytes())
		out.Reset()
	}
}
