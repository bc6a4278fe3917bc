package cmd

import (
	"strings"
	"testing"
	"time"
)

func TestUsageErrorsNameTheFlagAndWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--count -1 h", "--count -1: want 0 or more"},
		{"--count many h", "--count\" flag: want a whole number"},
		{"--count 99999999999999999999 h", "--count\" flag: want a smaller number"},
		{"--interval 0 h", "--interval 0: want a time above 0, or --flood"},
		{"--interval -1s h", "--interval -1s: want a time above 0"},
		{"--interval 10000h h", "--interval 10000h0m0s: want a time above 0 and up to 8760h"},
		{"--interval soon h", "--interval\" flag: want a duration such as 200ms"},
		{"--interval 99999999999 h", "--interval\" flag: want a duration that is not longer than 290 years"},
		{"--interval NaN h", "--interval\" flag: want a duration such as 200ms"},
		{"--timeout 0 h", "--timeout 0s: want a time above 0"},
		{"--timeout 25h h", "--timeout 25h0m0s: want a time above 0 and up to 24h"},
		{"--deadline -3 h", "--deadline -3s: want a time above 0"},
		{"--deadline 9000h h", "--deadline 9000h0m0s: want a time above 0 and up to 8760h"},
		{"--deadline 0 h", "--deadline 0s: want a time above 0"},
		{"--rate -1 h", "--rate -1: want a number above 0, or 0"},
		{"--rate NaN h", "--rate NaN: want"},
		{"--rate Inf h", "--rate +Inf: want"},
		{"--retries -1 h", "--retries -1: want 0 to 100"},
		{"--retries 101 h", "--retries 101: want 0 to 100"},
		{"--backoff 0.5 h", "--backoff 0.5: want 1 to 1000"},
		{"--backoff NaN h", "--backoff NaN: want 1 to 1000"},
		{"--window 0 h", "--window 0: want 1 to 262144"},
		{"--size -1 h", "--size -1: want 0 to 65507 bytes"},
		{"--size 65508 h", "--size 65508: want 0 to 65507 bytes"},
		{"--pattern f h", `--pattern "f": want hexadecimal digits, two for each byte`},
		{"--pattern xy h", `--pattern "xy": want hexadecimal digits`},
		{"--pattern= h", `--pattern "": want hexadecimal digits`},
		{"--data a --pattern ff h", "--data and --pattern: want one of them"},
		{"--ttl 0 h", "--ttl 0: want 1 to 255"},
		{"--ttl 256 h", "--ttl 256: want 1 to 255"},
		{"--tos -1 h", "--tos -1: want 0 to 255"},
		{"--tos 0x100 h", "--tos 256: want 0 to 255"},
		{"--mark 4294967296 h", "--mark 4294967296: want 0 to 4294967295"},
		{"--pmtudisc maybe h", `--pmtudisc "maybe": want do, probe or want`},
		{"--pmtudisc dont h", "--pmtudisc dont: "},
		{"--interface nosuch0 h", "--interface nosuch0: it is no address and no interface"},
		{"--interface 203.0.113.7 h", "--interface 203.0.113.7: "},
		{"--interface ::1 127.0.0.1", "--interface ::1: the address is of the other family"},
		{"--interface 127.0.0.1 -6 h", "--interface 127.0.0.1: the address is of the other family"},
		{"--interface 127.0.0.1 --interface 127.0.0.2 h", "--interface 127.0.0.1 and 127.0.0.2: want one address"},
		{"-4 -6 h", "--ipv4 and --ipv6: want one of them"},
		{"-4 ::1 h", "--ipv4: there are IPv6 addresses among the targets, 1 of them"},
		{"-6 127.0.0.0/30 h", "--ipv6: there are IPv4 addresses among the targets, 4 of them"},
		{"--flood --interval 1 h", "--flood and --interval: want one of them"},
		{"--flood --jitter h", "--flood and --jitter: want one of them"},
		{"--json --csv h", "--json and --csv: want one of them"},
		{"--alive --json h", "--alive and --json: want one of them"},
		{"--unreachable --csv h", "--unreachable and --csv: want one of them"},
		{"--reachable 0 h", "--reachable 0: want 1 or more"},
		{"--fast-reachable -1 h", "--fast-reachable -1: want 1 or more"},
		{"-x 1 -X 1 h", "--reachable and --fast-reachable: want one of them"},
		{"--fail-if loss h", "--fail-if: condition \"loss\""},
		{"--fail-if= h", "--fail-if: condition \"\""},
		{"--network nosuch h", "--network nosuch: want one of ip4:icmp, "},
		{"--backend kqueue 127.0.0.1", "usable here: epoll, poll, select"},
		{"--file /nonexistent", "--file: open /nonexistent: "},
		{"--exclude-file /nonexistent h", "--exclude-file: open /nonexistent: "},
		{"--exclude 300.1.1.1 h", `--exclude "300.1.1.1": `},
		{"", "no target given, want one or more, such as 127.0.0.1, or --file"},
		{"--pcap - h", "--pcap -: want the name of a file"},
		{"--nosuch", "unknown flag"},
	} {
		out, errs, code := runEcho(append([]string{"client"}, strings.Fields(c.args)...)...)
		if code != exitError || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("client %s: exit code %d, want %d and %q\n%s%s", c.args, code, exitError, c.want, out, errs)
		}
	}
	for _, c := range []struct{ args, want string }{
		{"server now", "unknown command"},
		{"server --network udp4:icmp", "a ping socket receives no echo requests"},
		{"nosuch", "unknown command"},
	} {
		out, errs, code := runEcho(strings.Fields(c.args)...)
		if code != exitError || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", c.args, code, exitError, c.want, out, errs)
		}
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	_, errs, code := runEcho("client", "--count", "-1", "--timeout", "0", "--fail-if", "speed>9", "--exclude", "1.2.3", "a b", "::g")
	mustContain(t, "error", errs, "--count", "--timeout", "--fail-if", "--exclude", `"a b"`, `"::g"`)
	if code != exitError {
		t.Errorf("exit code %d, want %d", code, exitError)
	}
}

func TestDurationsWithoutAUnitAreSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{"0.2": 200 * time.Millisecond, "3": 3 * time.Second, "15ms": 15 * time.Millisecond} {
		var s seconds
		if err := s.Set(text); err != nil || time.Duration(s) != want {
			t.Errorf("%s is %v, %v; want %v", text, time.Duration(s), err, want)
		}
	}
}

func TestWholeNumbersMayBeHexadecimal(t *testing.T) {
	for text, want := range map[string]whole{"16": 16, "0x10": 16, "0XfF": 255, "010": 10, "-3": -3} {
		var n whole
		if err := n.Set(text); err != nil || n != want {
			t.Errorf("%s is %v, %v; want %v", text, n, err, want)
		}
	}
}

func TestHelpDocumentsTheExitCodes(t *testing.T) {
	out, _, code := runEcho("client", "--help")
	mustContain(t, "help", out, "Exit codes:", "  0 ", "  1 ", "  2 ", "  141 ")
	if code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
