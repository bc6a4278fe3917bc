package codec_test

import (
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
	} {
		t.Run(test.command, func(t *testing.T) {
			args := strings.Fields(test.command)
			path, err := exec.LookPath(args[0])
			if err != nil {
				t.Skipf("%s is not installed (apt-get install iputils-ping fping nmap)", args[0])
			}
			w := tapOn(t, ns, "lo")
			cmd := exec.CommandContext(t.Context(), path, args[1:]...)
			if err := ns.Do(cmd.Start); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill() // or nping waits for a second
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
