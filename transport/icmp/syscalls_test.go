package icmp_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"iomux/transport"
)

// TestSystemCallsOfABatch traces itself: a batch there and back is a call each.
func TestSystemCallsOfABatch(t *testing.T) {
	lab(t)
	const variable, batch = "ICMP_TEST_TRACED", 32
	if name := os.Getenv(variable); name != "" {
		n := networks[slices.IndexFunc(networks, func(n network) bool { return n.name == name })]
		tr := open(t, n.name, "", only(n.reply))
		out, in := slices.Repeat([]transport.Message{message(n.request, n.loopback, 1, 1, pattern(56))}, batch), slots(batch, 1500)
		for range 100 { // loopback has usually delivered all when Send returns
			fmt.Println("begin")
			sent, err := tr.Send(out)
			got, err2 := tr.Recv(in)
			fmt.Println("end")
			if sent != batch || err != nil || err2 != nil {
				t.Fatalf("Send = %d, %v; Recv = %d, %v", sent, err, got, err2)
			}
			if got == batch {
				break
			}
			recvInto(t, tr, in[got:])
		}
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed (apt-get install strace)")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	onAll(t, []network{raw4, raw6}, func(t *testing.T, n network) {
		log := filepath.Join(t.TempDir(), "strace")
		cmd := exec.Command(strace, "-f", "-o", log, "-e", "trace=write,%net,poll,ppoll", "--", self, "-test.run=^TestSystemCallsOfABatch$")
		cmd.Env = append(os.Environ(), variable+"="+n.name)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		trace, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		last := strings.LastIndex(string(trace), `write(1, "begin\n"`)
		between, _, found := strings.Cut(string(trace[max(last, 0):]), `write(1, "end\n"`)
		if !found {
			t.Fatalf("the marks are missing:\n%s", trace)
		}
		var calls []string
		for _, f := range regexp.MustCompile(`(?m)^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed).*= (-?\d+)`).FindAllStringSubmatch(between, -1) {
			if f[1] != "write" {
				calls = append(calls, f[1]+" = "+f[2])
			}
		}
		if want := []string{"sendmmsg = 32", "recvmmsg = 32"}; !slices.Equal(calls, want) {
			t.Errorf("the calls of a batch are %q, want %q", calls, want)
		}
	})
}
