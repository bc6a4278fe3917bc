package packet_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/internal/wiretest"
	"iomux/transport/packet"
)

var modes = []packet.FanoutMode{packet.Hash, packet.LB, packet.CPU, packet.Rollover, packet.Random, packet.QM}

func TestFanoutGivesAPacketToOne(t *testing.T) {
	c := wiretest.NewCable(t)
	far, beside := openFar(t, c, "packet:raw"), openNear(t, "packet:raw")
	const sent = 64
	for _, network := range networks {
		for group, mode := range modes {
			cfg := &transport.Config{Options: packet.Options{EtherType: experiment, Fanout: packet.Fanout{Group: uint16(group), Mode: mode}}}
			members := []transport.Transport{wiretest.Open(t, network, "near", cfg), wiretest.Open(t, network, "near", cfg)}
			for i := range sent {
				wiretest.Send(t, far, wiretest.Message(frame(c.Near.MAC, c.Far.MAC, experiment, byte(i))))
			}
			wiretest.Send(t, beside, wiretest.Message(frame(c.Far.MAC, c.Near.MAC, experiment, 99))) // outgoing: for nobody
			wiretest.Recv(t, beside, sent)
			seen, each := make(map[byte]int), [2]int{}
			for i, tr := range members {
				for ms := []transport.Message{wiretest.Message(make([]byte, 100))}; ; {
					n, err := tr.Recv(ms)
					if err != nil {
						t.Fatal(err)
					}
					if n == 0 {
						break
					}
					b := ms[0].Bytes()
					seen[b[len(b)-1]]++
					each[i]++
				}
			}
			if len(seen) != sent || each[0]+each[1] != sent {
				t.Errorf("%s, %v: %d of %d packets came, %v to the one and the other", network, mode, len(seen), sent, each)
			}
			if mode == packet.LB && each != [2]int{sent / 2, sent / 2} {
				t.Errorf("%s, %v: %v packets came to the one and the other, want as many to both", network, mode, each)
			}
			for _, tr := range members {
				tr.Close()
			}
			wiretest.RecvNone(t, beside)
		}
	}
}

func TestFanoutMembersAgree(t *testing.T) {
	wiretest.NewCable(t)
	hash := packet.Fanout{Group: 7, Mode: packet.Hash}
	wiretest.Open(t, "packet", "near", &transport.Config{Options: packet.Options{Fanout: hash}})
	_, err := transport.Open("packet", "near", &transport.Config{Options: packet.Options{Fanout: packet.Fanout{Group: 7, Mode: packet.LB}}})
	const want = "open packet: fan-out group 7, mode lb: setsockopt PACKET_FANOUT: invalid argument (all of a group have the same address, Outgoing and Mode)"
	if !errors.Is(err, unix.EINVAL) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestFanoutModesHaveNames(t *testing.T) {
	var names []string
	for _, m := range append([]packet.FanoutMode{0, packet.QM + 1, 255}, modes...) {
		names = append(names, m.String())
	}
	if got, want := strings.Join(names, " "), "none unknown unknown hash lb cpu rollover random qm"; got != want {
		t.Errorf("the names are %s, want %s", got, want)
	}
}
