package cmd

import (
	"errors"
	"fmt"
	"os"

	"iomux/apps/echo/capture"
	"iomux/apps/echo/prober"
	"iomux/transport"
)

// pcap is the file that --pcap names.
type pcap struct {
	file   *os.File
	writer *capture.Writer
	failed bool // wrap has told why
}

func createPcap(name string) (*pcap, error) {
	if name == "-" {
		return nil, errors.New("--pcap -: want the name of a file")
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("--pcap: %w", err)
	}
	return newPcap(f), nil
}

func newPcap(f *os.File) *pcap { return &pcap{file: f, writer: capture.NewWriter(f)} }

// wrap has written what a transport sends and receives. It closes the transport if it
// cannot.
func (p *pcap) wrap(t transport.Transport, op prober.Opening, network string) (transport.Transport, error) {
	o := capture.Options{Name: network, Payload: capture.ICMPv4, Source: op.Config.Source}
	if op.IPv6 {
		o.Payload = capture.ICMPv6
	}
	w, err := p.writer.Wrap(t, o)
	if err != nil {
		p.failed = true
		return nil, join(p.named(err), t.Close())
	}
	return w, nil
}

// flush writes what has been gathered.
func (p *pcap) flush() error { return p.named(p.writer.Flush()) }

func (p *pcap) close() error {
	err := p.writer.Close()
	if p.failed {
		err = nil
	}
	return p.named(join(err, p.file.Close()))
}

// named says which flag an error is about. The name of the file is in it already.
func (p *pcap) named(err error) error {
	if err != nil {
		err = fmt.Errorf("--pcap: %w", err)
	}
	return err
}
