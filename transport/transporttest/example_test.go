package transporttest_test

import (
	"testing"

	"iomux/transport"
	"iomux/transport/transporttest"
	"iomux/transport/unix"
)

// The test of a transport, here of UNIX domain sockets.
func ExampleRun() {
	message := func(seq, size int) transport.Message {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(seq + i*7)
		}
		return transport.Message{Buf: payload, N: size}
	}
	_ = func(t *testing.T) { // TestConformance
		transporttest.Run(t, transporttest.Subject{
			Network: "unixgram",
			Open: func(cfg *transport.Config) (transporttest.Pair, error) {
				a, b, err := unix.Pair(cfg)
				return transporttest.Pair{A: a, B: b, ToB: message, ToA: message}, err
			},
			MaxSize: 1 << 16,
			Unsendable: func(transporttest.Pair) []transport.Message {
				return []transport.Message{message(0, 1<<22)}
			},
			Without: map[string]string{
				"pending_error_reported_once":   "the tests of package unix show it",
				"enobufs_blocks_or_is_an_error": "a full buffer is EAGAIN",
				"unprivileged_open":             "everybody may open one",
				"link_down_and_up":              "there is no interface",
			},
		})
	}
}
