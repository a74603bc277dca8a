package test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// frames is an HTTP/2 connection that sends what it is told to, frame by frame:
// a library would refuse, or tidy up.
type frames struct {
	t        *testing.T
	conn     *tls.Conn
	framer   *http2.Framer
	settings map[http2.SettingID]uint32 // of the server
	next     uint32                     // the id of the next stream
}

// dialFrames connects, and exchanges settings.
func dialFrames(t *testing.T, address string) *frames {
	t.Helper()
	config := gatewaytest.Insecure.Clone()
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", address, config)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	f := &frames{t: t, conn: conn, framer: http2.NewFramer(conn, conn), settings: make(map[http2.SettingID]uint32), next: 1}
	f.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(conn, http2.ClientPreface)
	must(t, err)
	must(t, f.framer.WriteSettings())
	frame, err := f.framer.ReadFrame()
	must(t, err)
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("got %v first, want the server's settings", frame)
	}
	must(t, settings.ForeachSetting(func(s http2.Setting) error {
		f.settings[s.ID] = s.Val
		return nil
	}))
	must(t, f.framer.WriteSettingsAck())
	return f
}

// maxFrame is the longest frame that a server must take.
const maxFrame = 16 << 10

// open begins a request with the given fields, name and value in turn, the
// pseudo-headers first, and returns its stream.
func (f *frames) open(ended bool, fields ...string) uint32 {
	f.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		must(f.t, encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	stream := f.next
	f.next += 2
	first, rest := block.Next(maxFrame), block.Bytes()
	must(f.t, f.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: first, EndHeaders: len(rest) == 0, EndStream: ended,
	}))
	for len(rest) > 0 {
		n := min(len(rest), maxFrame)
		// The server may have hung up: what it said is read later.
		_ = f.framer.WriteContinuation(stream, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	return stream
}

// reset is a stream that the server gave up without an answer.
type reset struct{ code http2.ErrCode }

func (r reset) Error() string { return fmt.Sprintf("the stream was reset: %v", r.code) }

// read returns the next headers or data of a stream. The last frame of the stream
// has FlagDataEndStream; a reset is an error.
func (f *frames) read(stream uint32) (http2.Frame, error) {
	for {
		frame, err := f.framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return nil, reset{frame.ErrCode}
			}
		case *http2.GoAwayFrame:
			if frame.ErrCode == http2.ErrCodeNo && frame.LastStreamID >= stream {
				continue // the server takes no more streams, and continues with these
			}
			return nil, fmt.Errorf("the connection was given up: %v", frame.ErrCode)
		case *http2.MetaHeadersFrame, *http2.DataFrame:
			if frame.Header().StreamID == stream {
				return frame, nil
			}
		}
	}
}

// answer reads the answer on a stream to its end; a reset comes back as an
// error.
func (f *frames) answer(stream uint32) (gatewaytest.Answer, error) {
	got := gatewaytest.Answer{Proto: 2, Header: make(http.Header)}
	for {
		frame, err := f.read(stream)
		if err != nil {
			return got, err
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			got.Status, _ = strconv.Atoi(frame.PseudoValue("status"))
			for _, field := range frame.RegularFields() {
				got.Header.Add(field.Name, field.Value)
			}
		case *http2.DataFrame:
			got.Body += string(frame.Data())
		}
		if frame.Header().Flags.Has(http2.FlagDataEndStream) { // the same bit in HEADERS
			return got, nil
		}
	}
}
