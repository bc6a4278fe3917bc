package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"iomux/apps/echo/check"
	"iomux/mux"
	"iomux/transport/netlab"
)

func init() { roles["mutants"] = mutants }

// checkLine is a line of what a check writes as JSON.
type checkLine struct {
	Type, Family, On, Backend, Fault, Want, Said string
	OK                                           bool
	Sent, Received                               *int
	Last                                         string `json:"last_line"`
	Killed                                       bool
	Exit                                         int `json:"exit_code"`
	Verdict, Why                                 string

	Rows, Failed         int
	Version              string   `json:"tool_version"`
	LeftOut              []string `json:"left_out"`
	Right, Wrong, Missed int
	Unknown              int
}

// runCheck runs a check in a process of its own, beside others.
func runCheck(t *testing.T, role string, args ...string) (faults []checkLine, total checkLine, code int) {
	t.Helper()
	netlab.Need(t)
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*watchdog)
	defer cancel()
	named := inRole(role, args...)
	c := exec.CommandContext(ctx, named.Path, named.Args[1:]...)
	c.Env = named.Env
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGABRT) }
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	c.Run()
	if errs.Len() > 0 {
		t.Fatalf("%v: %v\n%s", args, c.ProcessState, &errs)
	}
	for line := range bytes.Lines(out.Bytes()) {
		var l checkLine
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if l.Type == "fault" {
			faults = append(faults, l)
		} else {
			total = l
		}
	}
	return faults, total, c.ProcessState.ExitCode()
}

// The client says of everything that the server does what there is to say, on both
// families, raw sockets and TUN devices, and all backends.
func TestTheClientPassesTheCheck(t *testing.T) {
	faults, total, code := runCheck(t, "echo", "check", "--json")
	on := []string{check.Raw, check.TUN}
	if why := noTUN(); why != nil { // an ordinary user
		on = on[:1]
		if len(total.LeftOut) != 1 || !strings.Contains(total.LeftOut[0], why.Error()) {
			t.Errorf("left out is %q, want TUN: %v", total.LeftOut, why)
		}
	} else if total.LeftOut != nil {
		t.Errorf("left out is %q", total.LeftOut)
	}
	got := map[string]int{}
	for _, f := range faults {
		if !f.OK {
			t.Errorf("%s %s %s, %s: %s wanted, %s said", f.Family, f.On, f.Backend, f.Fault, f.Want, f.Said)
		}
		got[f.Family+f.On+f.Backend]++
	}
	want := 0
	for _, ipv6 := range []bool{false, true} {
		for _, on := range on {
			for _, backend := range mux.Backends() {
				site := check.Site{IPv6: ipv6, On: on, Backend: backend}
				n := 0
				for _, p := range check.Parts(site) {
					n += len(p.Faults) + 1
				}
				if got[site.Family()+on+backend] != n {
					t.Errorf("%v has %d rows, want %d", site, got[site.Family()+on+backend], n)
				}
				want += n
			}
		}
	}
	if code != exitOK || total.Failed != 0 || total.Rows != want {
		t.Errorf("exit code %d, %d rows of which %d failed, want %d", code, total.Rows, total.Failed, want)
	}
}

// mutation tells sites with different servers apart by their backends, which they do not
// depend on.
var mutation = map[string]func(rules []map[string]any){"poll": answerOtherwise, "select": swapErrors}

// mutants checks the client against servers that do something else than they are to do.
func mutants() int {
	os.Setenv(roleVariable, "echo")
	dir, err := os.MkdirTemp("", "echo-mutants")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	sites := []check.Site{{On: check.Raw, Backend: "poll"}, {IPv6: true, On: check.Raw, Backend: "poll"},
		{On: check.Raw, Backend: "select"}, {IPv6: true, On: check.Raw, Backend: "select"}}
	matrix, err := checkAll(context.Background(), dir, sites, func(p *check.Part) []byte {
		var file struct {
			Version int              `yaml:"version"`
			Rules   []map[string]any `yaml:"rules"`
		}
		if err := yaml.Unmarshal(p.Rules(), &file); err != nil {
			panic(err)
		}
		mutation[p.Site.Backend](file.Rules)
		text, err := yaml.Marshal(file)
		if err != nil {
			panic(err)
		}
		return text
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	if err := matrix.WriteJSON(os.Stdout); err != nil || matrix.Failed() == 0 {
		return exitError
	}
	return exitFailed
}

// answerOtherwise makes every rule a plain reply, and those that are a reply silent.
func answerOtherwise(rules []map[string]any) {
	for i, r := range rules {
		_, delay := r["delay"]
		_, fails := r["error"]
		other := map[string]any{"name": r["name"], "to": r["to"]}
		if len(r) == 2 || delay && !fails || r["name"] == "down later" {
			other["silent"] = true
		}
		rules[i] = other
	}
}

// aboutCodes are the names of the errors that swapErrors changes.
func aboutCodes(name string) bool {
	return slices.ContainsFunc([]string{"unreachable", "fragmentation needed", "packet too big", "time exceeded", "parameter problem"},
		func(kind string) bool { return strings.HasPrefix(name, kind+", ") })
}

// swapErrors has each address answer with the ICMP error of the next.
func swapErrors(rules []map[string]any) {
	var of []int
	for i, r := range rules {
		if aboutCodes(r["name"].(string)) {
			of = append(of, i)
		}
	}
	for k, i := range of {
		if k+1 < len(of) {
			next := rules[of[k+1]]
			rules[i]["error"], next["error"] = next["error"], rules[i]["error"]
		}
	}
}

// A server that does something else is noticed, for each fault: none passes whatever is
// done. One that confuses ICMP errors fails those, and nothing else.
func TestAServerThatDoesSomethingElseFails(t *testing.T) {
	faults, _, code := runCheck(t, "mutants")
	if code != exitFailed || len(faults) == 0 {
		t.Errorf("exit code %d, %d faults", code, len(faults))
	}
	for _, f := range faults {
		want := !aboutCodes(f.Fault)
		if f.Backend == "poll" {
			want = false
			if strings.HasPrefix(f.Fault, check.Nobody) { // nobody may do nothing
				continue
			}
		}
		if f.OK != want {
			t.Errorf("%s, %s of %s: ok is %v: %s wanted, %s said", f.Family, f.Fault, f.Backend, f.OK, f.Want, f.Said)
		}
	}
}

// fares checks how another prober fares with some faults.
func fares(t *testing.T, faults []checkLine, total checkLine, code int, want map[string]check.Verdict) {
	t.Helper()
	got := map[string]check.Verdict{}
	for _, f := range faults {
		got[f.Fault] = check.Verdict(f.Verdict)
		if f.Verdict == string(check.Unknown) || f.Killed {
			t.Errorf("%s: %+v", f.Fault, f)
		}
	}
	for fault, verdict := range want {
		if got[fault] != verdict {
			t.Errorf("%s: %q, want %q", fault, got[fault], verdict)
		}
	}
	if code != exitOK || total.Version == "" || total.Right == 0 || total.Wrong == 0 || total.Unknown > 0 {
		t.Errorf("exit code %d, %+v", code, total)
	}
}

func TestPingTakesTheChair(t *testing.T) {
	need(t, "ping", "iputils-ping")
	faults, total, code := runCheck(t, "echo", "check", "-4", "--json", "--client", "ping -c 2 -i 0.2 -W 1 {}")
	fares(t, faults, total, code, map[string]check.Verdict{"none": check.Right, "silence": check.Right, "delay, constant": check.Right,
		"last byte": check.Wrong, "code": check.Wrong, "duplicate": check.Right, "source": check.Wrong, "unreachable, code 1": check.Right,
		"rate limit": check.Right})
}

func TestFpingTakesTheChair(t *testing.T) {
	need(t, "fping", "fping")
	faults, total, code := runCheck(t, "echo", "check", "-6", "--json", "--client", "fping -c 2 -p 50 -t 1000 {}")
	fares(t, faults, total, code, map[string]check.Verdict{"none": check.Right, "silence": check.Right, "delay, constant": check.Right,
		"last byte": check.Wrong, "code": check.Wrong, "checksum": check.Right, "late": check.Unnoticed, "rate limit": check.Right})
}

// What cannot be read is shown.
func TestAProberThatIsNotKnownIsShown(t *testing.T) {
	faults, total, code := runCheck(t, "echo", "check", "-4", "--on", "raw", "--json", "--client", "ls /nowhere/{}")
	for _, f := range faults {
		if f.Verdict != string(check.Unknown) || f.Exit != 2 || !strings.Contains(f.Last, "/nowhere/10.64.0.") || f.Sent != nil {
			t.Errorf("%+v", f)
		}
	}
	if code != exitOK || total.Unknown != len(faults) || len(faults) == 0 {
		t.Errorf("exit code %d, %+v", code, total)
	}
}

// What does not end is ended, however much it writes, and with all that it has started.
func TestAProberThatDoesNotEndIsKilled(t *testing.T) {
	script := filepath.Join(t.TempDir(), "prober")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nyes $1 &\nyes $1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	o := checkOptions{path: script, words: []string{"prober", "{}!"}, patience: 100 * time.Millisecond}
	out, exit, killed, err := o.runTool(t.Context(), "192.0.2.1")
	if err != nil || !killed || exit == 0 || !strings.HasPrefix(out, "192.0.2.1!\n") || len(out) > 1<<20 {
		t.Errorf("exit code %d, killed %v, %d bytes, %.20q, %v", exit, killed, len(out), out, err)
	}
}

// A prober that takes replies for lost has three tries, and its last one counts.
func TestAProberThatTakesRepliesForLostTriesAgain(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "prober")
	text := "#!/bin/sh\necho >> " + dir + "/tries\nn=$(wc -l < " + dir + "/tries)\necho \"3 packets transmitted, $n received, 0% packet loss\"\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	o := checkOptions{path: script, words: []string{"prober", "{}"}, patience: watchdog}
	seats := check.Seats(check.Site{On: check.TUN})
	for _, want := range []int{3, 4} { // after three tries, and one more
		if a, err := o.try(t.Context(), seats[0]); err != nil || a.Received != want {
			t.Errorf("%+v, %v, want %d", a, err, want)
		}
	}
}

// A prober is no shell: an address is one word, and what it starts is what was looked up.
func TestAProberGetsTheAddressInPlaceOfTheBraces(t *testing.T) {
	o := checkOptions{client: "echo -n a{}b {} {}{}", patience: watchdog}
	if err := o.checkClient(); err != nil {
		t.Fatal(err)
	}
	out, exit, killed, err := o.runTool(t.Context(), "fd00::1")
	if want := "afd00::1b fd00::1 fd00::1fd00::1"; out != want || exit != 0 || killed || err != nil {
		t.Errorf("%q, %d, %v, %v, want %q", out, exit, killed, err, want)
	}
	o.words[0], o.path = "away", "/nowhere/away"
	if _, _, _, err := o.runTool(t.Context(), "fd00::1"); err == nil {
		t.Error("a program that is gone is no error")
	}
}

func TestWrongUsageOfTheCheckIsToldBeforeAnythingRuns(t *testing.T) {
	for args, want := range map[string]string{
		"--client|no-such-prober {}":          "no-such-prober",
		"--client|ping -c 1":                  "want {} where the address belongs",
		"--client|{} -c 1":                    "want a command before {}",
		"--client|":                           "want a command",
		"--client|ping {}; reboot":            "no shell reads it",
		"--client|ping $(reboot) {}":          "no shell reads it",
		"--client-timeout|1s":                 "want --client too",
		"--client|ping {}|--client-timeout|0": "--client-timeout 0s: want a time above 0",
		"--on|udp":                            "--on udp: want raw, tun",
		"--backend|kqueue":                    "--backend kqueue: there are epoll, poll, select",
		"--json|--markdown":                   "want one of them",
		"--on|udp|--backend|kqueue":           "2 errors occurred",
		"192.0.2.1":                           "unknown command",
	} {
		out, errs, code := runEcho(append([]string{"check"}, strings.Split(args, "|")...)...)
		if code != exitError || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %q %q, want %q", args, code, out, errs, want)
		}
	}
}

// Without a TUN device, asking for one is an error and not a shorter check.
func TestATUNDeviceThatCannotBeHadIsAnErrorIfAskedFor(t *testing.T) {
	why := noTUN()
	o := checkOptions{on: []string{check.Raw, check.TUN}, backends: mux.Backends()}
	sites, leftOut, err := o.sites(func(string) bool { return true })
	if why == nil {
		if err != nil || len(leftOut) != 0 || len(sites) != 4*len(mux.Backends()) {
			t.Errorf("%d sites, left out %q, %v", len(sites), leftOut, err)
		}
		return
	}
	if err == nil || !strings.Contains(err.Error(), "--on tun: open /dev/net/tun") {
		t.Errorf("%v", err)
	}
}

// The signal ends everything that the check has started, and leaves no file.
func TestAnInterruptedCheckEnds(t *testing.T) {
	netlab.Need(t)
	t.Parallel()
	dir := t.TempDir()
	c := echoCommand("check", "--on", "raw")
	c.Env = append(c.Env, "TMPDIR="+dir)
	p := start(t, c)
	for { // until the servers have their rules
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	out, code := p.signal(syscall.SIGINT)
	if code != exitError || out != "" || !strings.Contains(p.stderr.String(), "interrupted") {
		t.Errorf("exit code %d: %s%s", code, out, &p.stderr)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}
