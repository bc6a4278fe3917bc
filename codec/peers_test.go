package codec_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"iomux/codec"
	"iomux/transport/netlab"
)

// What Debian's tools send decodes to what they were told to send.
func TestPeersSendWhatDecodes(t *testing.T) {
	netlab.Need(t)
	ns := must[*netlab.Namespace](t)(netlab.New())
	defer ns.Close()
	is := func(typ codec.Type, code uint8, also func(p *codec.Packet, m *codec.Message) bool) func(*codec.Packet, *codec.Message) bool {
		return func(p *codec.Packet, m *codec.Message) bool {
			return m.Type == typ && m.Code == code && (also == nil || also(p, m))
		}
	}
	data := func(n int) func(*codec.Packet, *codec.Message) bool {
		return func(p *codec.Packet, m *codec.Message) bool { return len(m.Data) == n }
	}
	nping := func(args string) string { return "nping -c 1 --send-ip --icmp " + args + " 127.0.0.1" }
	hping := func(args string) string { return "hping3 -n -c 1 -1 " + args + " 127.0.0.1" }
	// quotes is for an error whose quoted header lies about its length in this way;
	// nil is one that tells the truth.
	quotes := func(lie error) func(p *codec.Packet, m *codec.Message) bool {
		return func(p *codec.Packet, m *codec.Message) bool {
			q, err := decodeQuote(m.Quote)
			return errors.Is(err, lie) && (err != nil || q.Packet.Destination.String() == "5.6.7.8")
		}
	}
	for _, test := range []struct {
		command string
		is      func(p *codec.Packet, m *codec.Message) bool
	}{
		{"ping -c 1 -W 20 127.0.0.1", is(codec.EchoRequest, 0, data(56))},
		{"ping -c 1 -W 20 -s 1 -t 9 -Q 16 127.0.0.1", is(codec.EchoRequest, 0, func(p *codec.Packet, m *codec.Message) bool {
			return len(m.Data) == 1 && p.TTL == 9 && p.TOS == 16
		})},
		{"ping -c 1 -W 20 -R 127.0.0.1", is(codec.EchoRequest, 0, func(p *codec.Packet, m *codec.Message) bool { return len(p.Options) == 40 })},
		{"ping -c 1 -W 20 -T tsonly 127.0.0.1", is(codec.EchoRequest, 0, func(p *codec.Packet, m *codec.Message) bool { return len(p.Options) == 40 })},
		{"ping -c 1 -W 20 ::1", is(codec.EchoRequest, 0, data(56))},
		{"ping -c 1 -W 20 -s 0 -F 74565 ::1", is(codec.EchoRequest, 0, func(p *codec.Packet, m *codec.Message) bool {
			return len(m.Data) == 0 && p.FlowLabel == 74565
		})},
		{"fping -c 1 -t 20000 127.0.0.1", is(codec.EchoRequest, 0, data(56))},
		{"fping -6 -c 1 -t 20000 -b 100 ::1", is(codec.EchoRequest, 0, data(100))},
		{nping("--data-length 9 --icmp-id 7 --icmp-seq 65535"), is(codec.EchoRequest, 0, func(p *codec.Packet, m *codec.Message) bool {
			return m.ID == 7 && m.Seq == 65535 && len(m.Data) == 9
		})},
		{nping("--icmp-type timestamp --icmp-orig-time 5 --icmp-recv-time 6 --icmp-trans-time 7"), is(codec.TimestampRequest, 0, func(p *codec.Packet, m *codec.Message) bool {
			return m.Originate == 5000 && m.Receive == 6000 && m.Transmit == 7000 // it takes seconds
		})},
		{nping("--icmp-type 3 --icmp-code 13"), is(codec.DestinationUnreachable, codec.ProhibitedV4, nil)},
		{nping("--icmp-type 4"), is(codec.SourceQuench, 0, nil)},
		{nping("--icmp-type 5 --icmp-code 1 --icmp-redirect-addr 10.1.2.3"), is(codec.Redirect, 1, func(p *codec.Packet, m *codec.Message) bool {
			return m.Gateway.String() == "10.1.2.3"
		})},
		{nping("--icmp-type 11 --icmp-code 1"), is(codec.TimeExceeded, codec.ReassemblyTimeExceeded, nil)},
		{nping("--icmp-type 12 --icmp-param-pointer 20"), is(codec.ParameterProblem, 0, func(p *codec.Packet, m *codec.Message) bool { return m.Pointer == 20 })},
		{hping("-d 9"), is(codec.EchoRequest, 0, data(9))},
		{hping("-d 65 -t 9 -o 10"), is(codec.EchoRequest, 0, func(p *codec.Packet, m *codec.Message) bool {
			return len(m.Data) == 65 && p.TTL == 9 && p.TOS == 16 // in hexadecimal
		})},
		{hping("-d 9 --rroute"), is(codec.EchoRequest, 0, func(p *codec.Packet, m *codec.Message) bool {
			return len(m.Data) == 9 && len(p.Options) == 40 && p.Options[0] == 7
		})},
		{hping("-d 9 --lsrr 127.0.0.2"), is(codec.EchoRequest, 0, func(p *codec.Packet, m *codec.Message) bool {
			return len(m.Data) == 9 && len(p.Options) > 0 && p.Options[0] == 131
		})},
		{hping("--icmp-ts"), is(codec.TimestampRequest, 0, nil)},
		{hping("-C 0"), is(codec.EchoReply, 0, nil)},
		{hping("-C 3 -K 13"), is(codec.DestinationUnreachable, codec.ProhibitedV4, quotes(nil))},
		{hping("-C 3 -K 1 --icmp-iphlen 15"), is(codec.DestinationUnreachable, codec.HostUnreachableV4, quotes(codec.ErrTooShort))},
		{hping("-C 3 -K 1 --icmp-iphlen 0"), is(codec.DestinationUnreachable, codec.HostUnreachableV4, quotes(codec.ErrLength))},
		{hping("-C 3 -K 1 --icmp-ipver 6"), is(codec.DestinationUnreachable, codec.HostUnreachableV4, quotes(codec.ErrTooShort))},
		{hping("-C 4"), is(codec.SourceQuench, 0, nil)},
		{hping("-C 5 -K 1 --icmp-gw 10.1.2.3"), is(codec.Redirect, 1, func(p *codec.Packet, m *codec.Message) bool {
			return m.Gateway.String() == "10.1.2.3"
		})},
		{hping("-C 11 -K 1"), is(codec.TimeExceeded, codec.ReassemblyTimeExceeded, quotes(nil))},
	} {
		t.Run(test.command, func(t *testing.T) {
			args := strings.Fields(test.command)
			path, err := exec.LookPath(args[0])
			if err != nil {
				t.Skipf("%s is not installed (apt-get install iputils-ping fping nmap hping3)", args[0])
			}
			w := tapOn(t, ns, "lo")
			cmd := exec.CommandContext(t.Context(), path, args[1:]...)
			if err := ns.Do(cmd.Start); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill() // or nping and hping3 wait for a second
			for {
				b, ok := w.next()
				if !ok {
					t.Fatal("nothing of this kind came")
				}
				p, m, err := decodeICMP(t, b)
				if err != nil {
					t.Errorf("% x: %v", b, err)
				}
				if test.is(&p, &m) {
					return
				}
			}
		})
	}
}

// A message with a bad checksum, and one in fragments, as hping3 sends them.
func TestPeersSendWhatMustBeRefused(t *testing.T) {
	netlab.Need(t)
	path, err := exec.LookPath("hping3")
	if err != nil {
		t.Skip("hping3 is not installed (apt-get install hping3)")
	}
	ns := must[*netlab.Namespace](t)(netlab.New())
	defer ns.Close()
	run := func(args ...string) *tap {
		w := tapOn(t, ns, "lo")
		cmd := exec.CommandContext(t.Context(), path, append([]string{"-n", "-c", "1", "-1"}, args...)...)
		if err := ns.Do(cmd.Start); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return w
	}
	next := func(w *tap) (p codec.Packet) {
		b, ok := w.next()
		if !ok {
			t.Fatal("nothing came")
		}
		if err := new(codec.IPv4).Decode(bytes.Clone(b), &p); err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		return p
	}

	p := next(run("-d", "9", "--icmp-cksum", "1", "127.0.0.1"))
	var m codec.Message
	if err := new(codec.ICMPv4).Decode(p.Payload, &m); !errors.Is(err, codec.ErrChecksum) {
		t.Errorf("bad checksum: %+v, %v", m, err)
	}

	w := run("-f", "-d", "40", "127.0.0.1")
	var whole []byte
	for more := true; more; {
		p := next(w)
		if want := map[bool]codec.Fragment{true: codec.First, false: codec.Later}[len(whole) == 0]; p.Fragment != want || p.Offset != len(whole) {
			t.Fatalf("%v at %d, want a %v at %d", p.Fragment, p.Offset, want, len(whole))
		}
		if err := new(codec.ICMPv4).Decode(p.Payload, &m); len(whole) == 0 && !errors.Is(err, codec.ErrChecksum) {
			t.Errorf("the first fragment as a message: %+v, %v", m, err)
		}
		whole, more = append(whole, p.Payload...), p.More
	}
	if err := new(codec.ICMPv4).Decode(whole, &m); err != nil || m.Type != codec.EchoRequest || len(m.Data) != 40 {
		t.Errorf("the fragments together: %+v, %v", m, err)
	}
}
