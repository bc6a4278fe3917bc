package cmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrongUsageOfTheServerIsToldTogether(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte("version: 1\nrules: []\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string][]string{
		"--tun 10.0.0.0/8,10.1.0.0/16,fd00::1/64,nonsense,fe80::1%lo,224.0.0.0/4,fd01::/64 --tun-mtu 1000 --tun-name abcdefghijklmnopq --tun-address 1.2.3.4/8": {
			"--tun 10.1.0.0/16: it overlaps with 10.0.0.0/8", "--tun fd00::1/64: bits are set behind the length; want fd00::/64",
			"--tun nonsense: want a prefix such as 10.64.0.0/10", "--tun fe80::1%lo: want a prefix", "--tun 224.0.0.0/4: want addresses of hosts",
			"--tun-mtu 1000: IPv6 takes at least 1280 bytes", "a name has at most 15 bytes", "--tun-address 1.2.3.4/8: want an address", "8 errors"},
		"--tun 10.0.0.0/8 --tun-mtu 67":                                       {"--tun-mtu 67: want 68 to 65535"},
		"--tun 10.0.0.0/8 --tun-address 10.0.0.1,10.0.0.2":                    {"--tun-address 10.0.0.2: want one address per family"},
		"--tun-name x --tun-mtu 1500 --tun-address none":                      {"--tun-name: want --tun too", "--tun-mtu: want --tun too", "--tun-address: want --tun too"},
		"--take-over --tun 10.0.0.0/8":                                        {"--take-over: the kernel answers on raw sockets only"},
		"--network udp4:icmp":                                                 {"a ping socket receives no echo requests, want ip4:icmp"},
		"--network udp6:ipv6-icmp":                                            {"a ping socket receives no echo requests"},
		"--network tun":                                                       {"--network tun: want --tun"},
		"--network nosuch --rate -1 --queue 0 --loops 0":                      {"--network nosuch: no such network; known: ip4:icmp", "--rate -1: want 0 to", "--queue 0: want 1 to", "--loops 0: want 1 to 256"},
		"--network ip4:icmp --network ip4:icmp":                               {"--network ip4:icmp: it is there twice"},
		"--network packet --loops 2":                                          {"--loops 2: --network packet has one descriptor"},
		"--network ip4:raw":                                                   {"--network ip4:raw: it only sends"},
		"--loss 150% --delay soon --total-rate x --seed -1 --error cold":      {"--loss: ", "--delay: ", "--total-rate: ", "--seed: ", "--error: ", "5 errors"},
		"--rules " + file + " --loss 1%":                                      {"--loss and --rules: want one of them"},
		"--rules " + file + " --total-rate 1":                                 {"--total-rate and --rules: want one of them"},
		"--rules /nonexistent/rules.yaml -4":                                  {"/nonexistent/rules.yaml: no such file"},
		"--stats 0":                                                           {"--stats 0s: want a time from 1ms to 24h0m0s"},
		"--stats 1ns --health x --health-interval 999us --health-timeout 25h": {"--stats 1ns: want a time from 1ms", "--health-interval 999µs: want", "--health-timeout 25h0m0s: want"},
		"--health-interval 1s --health-threshold 2 --health-timeout 1s":       {"--health-interval: want --health too", "--health-timeout: want --health too", "--health-threshold: want --health too"},
		"--health true --health-threshold 0":                                  {"--health-threshold 0: want 1 to 1000"},
		"--health http://":                                                    {"--health: ", "is no URL"},
		"--user nobody --keep-privileges":                                     {"--user and --keep-privileges: want one of them"},
		"--pcap -":                                                            {"--pcap -: want the name of a file"},
		"--spin 2s":                                                           {"--spin 2s: want a time up to 1s"},
		"--spin -1s":                                                          {"--spin -1s: want a time up to 1s"},
		"something":                                                           {"unknown command"},
	} {
		inLab(t, false)
		_, errs, code := runEcho(append([]string{"server"}, strings.Fields(args)...)...)
		if code != exitError {
			t.Errorf("%s: exit code %d", args, code)
		}
		mustContain(t, "server "+args, errs, want...)
	}
}

func TestHelpOfTheServerSaysWhatAValueIs(t *testing.T) {
	out, _, _ := runEcho("server", "--help")
	mustContain(t, "help", out, "--to prefix ", "--silent  ", "--loss probability ", "--ttl number ", "--stats time ", "--backend name ")
	for _, kind := range []string{" string", " strings", " stringArray", " value", " int", " duration"} {
		if strings.Contains(out, kind+"  ") {
			t.Errorf("a flag wants a%s:\n%s", kind, out)
		}
	}
}

func TestServerAnswersOnWhatIsAskedFor(t *testing.T) {
	inLab(t, false)
	for args, want := range map[string]string{
		"":                        "answering on ip4:icmp, ip6:ipv6-icmp, multiplexer ",
		"-4":                      "answering on ip4:icmp, multiplexer ",
		"-6":                      "answering on ip6:ipv6-icmp, multiplexer ",
		"--network ip6:ipv6-icmp": "answering on ip6:ipv6-icmp, multiplexer ",
		"--network ip6:ipv6-icmp --network ip4:icmp": "answering on ip4:icmp, ip6:ipv6-icmp, multiplexer ",
		"--loss 1% --seed 3":                         "answering on ip4:icmp, ip6:ipv6-icmp, 1 rules from the command line, multiplexer ",
	} {
		s := start(t, echoCommand(append([]string{"server"}, strings.Fields(args)...)...))
		if got := s.awaitLine("answering"); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s", args, got, want)
		}
	}
}

func TestServerForOneFamilyLeavesTheOtherToTheKernel(t *testing.T) {
	lab := inLab(t, true)
	if err := lab.SetSysctl("net.ipv6.icmp.echo_ignore_all", "1"); err != nil {
		t.Fatal(err)
	}
	_, errs, code := runEcho("server")
	mustContain(t, "error", errs, "the kernel answers IPv4 echo requests too (net.ipv4.icmp_echo_ignore_all=0)", "by the option -6")
	if code != exitError || strings.Contains(errs, "answers IPv6") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	startServer(t, "-6")
	if _, code := probe(t, "--quiet", "127.0.0.1", "::1"); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
