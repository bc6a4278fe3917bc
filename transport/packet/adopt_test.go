package packet_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"iomux/transport"
	"iomux/transport/netlab"
	"iomux/transport/packet"
)

// adopterVariable names, in a test that is run again without capabilities, the
// network whose socket it has been given.
const adopterVariable = "IOMUX_TEST_ADOPT"

// A packet socket, one of a fan-out group too, is used without capabilities.
func TestAPacketSocketIsAdoptedWithoutCapabilities(t *testing.T) {
	config := func() *transport.Config {
		return &transport.Config{Options: packet.Options{Promiscuous: true, Fanout: packet.Fanout{Group: 4711, Mode: packet.Hash}}}
	}
	if network := os.Getenv(adopterVariable); network != "" {
		if tr, err := transport.Open(network, "lo", config()); err == nil {
			tr.Close()
			t.Fatal("a socket could be opened, so that this shows nothing")
		}
		cfg := config()
		cfg.Files = []*os.File{os.NewFile(3, network)}
		tr, err := transport.Open(network, "lo", cfg)
		if err != nil {
			t.Fatal(err)
		}
		tr.Close()
		return
	}
	netlab.Need(t)
	for _, network := range []string{"packet", "packet:raw"} {
		tr, err := transport.Open(network, "lo", config())
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		other := map[string]string{"packet": "packet:raw", "packet:raw": "packet"}[network]
		for _, as := range []string{network, other} {
			files, err := transport.Files(tr)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestAPacketSocketIsAdoptedWithoutCapabilities$")
			cmd.Env = append(os.Environ(), adopterVariable+"="+as)
			cmd.ExtraFiles = files
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := netlab.WithoutCapabilities(cmd, unix.CAP_NET_RAW, unix.CAP_NET_ADMIN); err != nil {
				t.Fatal(err)
			}
			files[0].Close()
			err = cmd.Wait()
			if fits := as == network; fits != (err == nil) || !fits && !strings.Contains(out.String(), "Config.Files[0]: it is socket(AF_PACKET") {
				t.Errorf("a socket of %s as one of %s: %v:\n%s", network, as, err, out.String())
			}
		}
	}
}
