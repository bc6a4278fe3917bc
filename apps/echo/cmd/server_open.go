package cmd

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"iomux/apps/echo/capture"
	"iomux/apps/echo/responder/rules"
	"iomux/transport"
	"iomux/transport/icmp"
	_ "iomux/transport/rawip" // what a raw socket cannot send
	"iomux/transport/tun"
)

// handed are the files that a process with more privileges has opened, by network or
// by flag; nil if this one is to open all itself.
type handed map[string][]*os.File

// take takes out one file; none if nothing was handed over.
func (h handed) take(name string) []*os.File {
	if len(h[name]) == 0 {
		return nil
	}
	first := h[name][:1]
	h[name] = h[name][1:]
	return first
}

// The networks that carry what a raw socket cannot send.
const (
	forgeNetwork  = "ip4:raw"
	forgeNetwork6 = "ip6:raw"
)

// place is where the server answers: raw sockets of a family, a TUN device or another
// network.
type place struct {
	network    string
	label      string // for people
	ipv6       bool
	payload    capture.Payload
	transports []transport.Transport // one for each loop
	forge      []transport.Transport // the same, or nil
	device     *tun.Device           // nil if it is none
	options    tun.Options
}

func (p *place) close() (err error) {
	for _, t := range append(p.forge, p.transports...) {
		if closing := t.Close(); !errors.Is(closing, net.ErrClosed) { // as a device closes all its queues
			err = join(err, closing)
		}
	}
	return err
}

// recvBuffer is the room in the kernel for what comes while a loop is busy, in bytes.
const recvBuffer = 2 << 20

// open opens all places to answer at. It tells what is left out.
func (o *serverOptions) open(files handed, stderr io.Writer) (places []*place, err error) {
	defer func() {
		if err != nil {
			for _, p := range places {
				p.close()
			}
			places = nil
		}
	}()
	add := func(p *place, err error) error {
		if err == nil {
			places = append(places, p)
		}
		return err
	}
	ip4, ip6 := o.raw()
	if ip4 && (files == nil || len(files[rawNetwork]) > 0) {
		if err := add(o.openRaw(rawNetwork, forgeNetwork, false, files)); err != nil {
			return places, err
		}
	}
	if ip6 && (files == nil || len(files[rawNetwork6]) > 0) {
		err := add(o.openRaw(rawNetwork6, forgeNetwork6, true, files))
		asked := o.ipv6 || len(o.networks) > 0
		switch {
		case !asked && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPROTONOSUPPORT)):
			note(stderr, "this system has no IPv6; answering IPv4 only")
		case err != nil:
			return places, err
		}
	}
	if len(o.tun) > 0 {
		if err := add(o.openTUN(files)); err != nil {
			return places, err
		}
	}
	for _, name := range o.others() {
		t, err := transport.Open(name, "", nil)
		if err := add(&place{network: name, label: name, payload: capture.ICMPv4, transports: []transport.Transport{t}}, err); err != nil {
			return places, err
		}
	}
	if len(places) == 0 {
		return nil, errNothingLeft
	}
	return places, nil
}

// openRaw opens a raw socket for each loop. Each message reaches one of them.
func (o *serverOptions) openRaw(network, forge string, v6 bool, files handed) (p *place, err error) {
	p = &place{network: network, label: network, ipv6: v6, payload: capture.ICMPv4}
	types, steer := []uint8{8}, icmp.SteerFilter // echo requests
	if v6 {
		types, steer, p.payload = []uint8{128}, icmp.SteerFilter6, capture.ICMPv6
	}
	defer func() {
		if err != nil {
			p.close()
		}
		if errors.Is(err, fs.ErrPermission) && o.takeOver {
			err = fmt.Errorf("%w; --take-over needs CAP_NET_ADMIN too: setcap cap_net_raw,cap_net_admin+ep", err)
		}
	}()
	var random [4]byte
	rand.Read(random[:]) // never fails
	key := binary.NativeEndian.Uint32(random[:])
	for i := range int(o.loops) {
		cfg := transport.Config{Options: icmp.Options{Types: types, Broadcast: o.broadcast, AnyLocal: true}, Files: files.take(network)}
		if files == nil {
			cfg.RecvBuffer = recvBuffer // what was handed over has it, which may take privileges
		}
		if o.loops > 1 {
			var filter []bpf.RawInstruction
			if filter, err = steer(i, int(o.loops), key); err != nil {
				return p, err
			}
			cfg.Filter = filter
		}
		var t transport.Transport
		if t, err = transport.Open(network, "", &cfg); err != nil {
			return p, err
		}
		p.transports = append(p.transports, t)
		if !o.forges() {
			continue
		}
		if t, err = transport.Open(forge, "", &transport.Config{Files: files.take(forge)}); err != nil {
			return p, err
		}
		p.forge = append(p.forge, t)
	}
	return p, nil
}

// forges reports whether rules may want what raw sockets cannot send. A file may want
// it later.
func (o *serverOptions) forges() bool {
	return o.rulesFile != "" || o.given("source") || o.given("corrupt") || o.given("error")
}

// openTUN makes the device, with a queue for each loop.
func (o *serverOptions) openTUN(files handed) (*place, error) {
	options, err := o.tunOptions()
	if err != nil {
		return nil, err
	}
	t, err := transport.Open(tunNetwork, o.tunName, &transport.Config{Queues: int(o.loops), Options: options, Files: files[tunNetwork]})
	if err != nil {
		return nil, fmt.Errorf("--tun: %w", err)
	}
	d, _ := transport.As[*tun.Device](t)
	return &place{network: tunNetwork, label: fmt.Sprintf("%s (%s)", d.Name(), joinPrefixes(options.Routes)),
		transports: d.Queues(), device: d, options: options}, nil
}

// firstRules are those of the file, if there is one, or of the flags.
func (s *server) firstRules(set *rules.Set, files handed) (*rules.Set, error) {
	name := s.o.rulesFile
	if name == "" {
		return set, nil
	}
	if opened := files.take("rules"); opened != nil {
		defer opened[0].Close()
		if err := unix.Access(name, unix.R_OK); err != nil {
			note(s.stderr, "--rules %s: this process may not read it (%v), so that SIGHUP will not have an effect; "+
				"make it readable for user %d, or name another by --user", name, err, os.Getuid())
		}
		return rules.Read(name, opened[0])
	}
	return rules.ReadFile(name)
}
