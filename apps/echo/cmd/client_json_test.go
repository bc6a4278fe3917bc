package cmd

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"iomux/apps/echo/prober/report"
)

// hostile is a name that an interface may have: it ends a string in JSON, begins a
// control sequence, and is no UTF-8.
const hostile = "\"},\x1b\\\xff"

// hostileRun has such a name, and others that make trouble in zones, which have to be
// printable.
func hostileRun(t *testing.T, w *wire, format string) string {
	t.Helper()
	args := []string{"client", format, "--count", "2", "--interval", "1ms", "--timeout", "30s", "--interface", hostile,
		far4.String(), "fe80::1%=cmd();\",{\\", "fe80::2%@}\"'~", far6.String(), "no-such-host.invalid"}
	out, errs, code := runEcho(args...)
	if code != exitUnanswered || errs != "" {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	mustNotContain(t, "output", out, "\x1b", "\xff")
	return out
}

func TestJSONFitsItsSchemaWhateverTheNamesAre(t *testing.T) {
	out := hostileRun(t, newWire(t, hostile), "--json")
	c := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(report.Schema))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]int{}
	for line := range strings.Lines(out) {
		event, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(event)
		}
		if err != nil {
			t.Errorf("%v in %s", err, line)
			continue
		}
		types[event.(map[string]any)["type"].(string)]++
	}
	if types["begin"] != 1 || types["result"] != 10 || types["target"] != 5 || types["total"] != 1 {
		t.Errorf("%v events", types)
	}
}

func TestJSONPassesThroughJq(t *testing.T) {
	jq := need(t, "jq", "jq")
	out := hostileRun(t, newWire(t, hostile), "--json")
	c := exec.Command(jq, "-r", `select(.type == "result") | "\(.target) \(.outcome)"`)
	c.Stdin = strings.NewReader(out)
	got := strings.Split(strings.TrimSpace(mustRun(t, c)), "\n")
	if len(got) != 10 {
		t.Errorf("jq sees %d results: %q", len(got), got)
	}
	c = exec.Command(jq, "-c", `select(.type == "begin") | .interface`)
	c.Stdin = strings.NewReader(out)
	var name string
	if err := json.Unmarshal([]byte(mustRun(t, c)), &name); err != nil || name != strings.ToValidUTF8(hostile, "\uFFFD") {
		t.Errorf("jq reads the interface as %q, %v", name, err)
	}
}

func TestCSVHasTheSameColumnsInEveryRowWhateverTheNamesAre(t *testing.T) {
	out := hostileRun(t, newWire(t, hostile), "--csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll() // which counts the columns
	if err != nil || len(rows) != 11 {
		t.Fatalf("%d rows, %v:\n%s", len(rows), err, out)
	}
	for _, row := range rows {
		for _, cell := range row {
			if strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "@") {
				t.Errorf("a spreadsheet would take %q for a formula", cell)
			}
		}
	}
}

// Results are printed while the run goes on.
func TestJSONDoesNotWaitForTheEnd(t *testing.T) {
	inLab(t, true)
	p := start(t, echoCommand("client", "--json", "--interval", "1h", "--timeout", "30s", "127.0.0.1"))
	p.awaitLine(`"outcome":"reply"`)
}

// Whoever reads on may let the client run for ever.
func TestResultsDoNotGatherInMemory(t *testing.T) {
	inLab(t, true)
	peak := func(flags ...string) int64 {
		c := echoCommand(append([]string{"client", "--json", "--flood", "--count", "100000", "--timeout", "30s", "127.0.0.1"}, flags...)...)
		p := start(t, c)
		if n, err := io.Copy(io.Discard, p.stdout); err != nil || n == 0 {
			t.Fatal(n, err)
		}
		p.Wait()
		if code := p.ProcessState.ExitCode(); code != exitOK {
			t.Errorf("exit code %d\n%s", code, &p.stderr)
		}
		return int64(p.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) // in kB
	}
	without, with := peak("--quiet"), peak()
	if with > without+8<<10 { // 80 bytes a result
		t.Errorf("%d kB with the results, %d kB without", with, without)
	}
}
