package cmd

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWhatIsSentAndReceivedIsInTheFile(t *testing.T) {
	tshark := need(t, "tshark", "tshark")
	newWire(t, "near0")
	for _, end := range []string{"by itself", "by a signal"} {
		t.Run(end, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "echo.pcapng")
			args := []string{"client", "--pcap", file, "--timeout", "30s", "--size", "100", "--ttl", "9", "--interval", "1ms", far4.String(), far6.String()}
			if end == "by itself" {
				out, errs, code := runEcho(append(args, "--count", "5")...)
				if code != exitOK {
					t.Fatalf("exit code %d\n%s%s", code, out, errs)
				}
			} else {
				p := start(t, echoCommand(append(args, "--count", "0")...))
				p.awaitLine("[4]")
				p.awaitLine("[4]")
				p.signal(syscall.SIGINT)
			}
			out := mustRun(t, exec.Command(tshark, "-n", "-r", file, "-T", "fields", "-E", "separator=/s", "-e", "icmp.type", "-e", "icmpv6.type",
				"-e", "icmp.checksum.status", "-e", "icmpv6.checksum.status", "-e", "_ws.malformed", "-e", "ip.dst", "-e", "ipv6.dst"))
			for packet, want := range map[string]int{"8  1   " + far4.String(): 5, "0  1   ": 5, " 128  1   " + far6.String(): 5, " 129  1   ": 5} {
				n := 0
				for line := range strings.Lines(out) {
					if strings.HasPrefix(line, packet) {
						n++
					}
				}
				if n < want || end == "by itself" && n != want {
					t.Errorf("%d packets %q, want %d:\n%s", n, packet, want, out)
				}
			}
		})
	}
}

func TestAFileThatCannotBeWrittenIsAnError(t *testing.T) {
	inLab(t, true)
	for file, want := range map[string]string{"/nonexistent/x": "no such file", "/dev/full": "no space left on device", "": "no such file"} {
		_, errs, code := runEcho("client", "--pcap", file, "--count", "100", "--interval", "1ms", "--timeout", "30s", "127.0.0.1")
		mustContain(t, "error", errs, "--pcap: ", want)
		if code != exitError || strings.Count(errs, want) != 1 {
			t.Errorf("%q: exit code %d\n%s", file, code, errs)
		}
	}
}
