package peers

import (
	"fmt"
	"runtime"
	"strconv"
)

// newGoping builds the probers in Go in dir, and returns one of them: x-net, which uses
// golang.org/x/net/icmp as one does by hand, or pro-bing, with raw sockets or with ping
// sockets (pro-bing-udp).
func newGoping(dir, name string) (*prober, error) {
	path, err := buildGo(dir, ".", "./goping")
	if err != nil {
		return nil, err
	}
	module := "github.com/prometheus-community/pro-bing"
	if name == "x-net" {
		module = "golang.org/x/net"
	}
	version, err := builtWith(path, module)
	if err != nil {
		return nil, err
	}
	return &prober{
		name: name, about: version + ", " + runtime.Version(), loses: name != "x-net",
		args: func(l load) []string {
			return []string{path, name, l.first.String(), strconv.Itoa(l.n), strconv.Itoa(l.count), l.gap.String()}
		},
		parse: func(said []byte, _ load) (t tally, err error) {
			_, err = fmt.Sscan(string(said), &t.sent, &t.answered, &t.rtt)
			return t, err
		},
	}, nil
}
