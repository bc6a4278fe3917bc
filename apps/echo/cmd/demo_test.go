package cmd

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"iomux/mux"
)

const conversation = `
server:
Received ICMP message:
Source IP: 127.0.0.1
Type: 8
Code: 0
Original Data: Hello from client!

client:
Received ICMP message:
Source IP: 127.0.0.1
Type: 0
Code: 0
Original Data: Hello from server!
`

func TestDemoShowsTheConversation(t *testing.T) {
	for _, backend := range mux.Backends() {
		for _, count := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", backend, count), func(t *testing.T) {
				inLab(t, true)
				out, errs, code := runEcho("demo", "--backend", backend, "--count", fmt.Sprint(count))
				want := "IP Address: 127.0.0.1\n" + strings.Repeat(conversation, count) +
					fmt.Sprintf("\n--- %s: the client sent %[2]d and received %[2]d, the server received %[2]d and answered %[2]d ---\n",
						backend, count)
				if out != want || errs != "" || code != 0 {
					t.Errorf("exit code %d\n%s%s\nwant\n%s", code, out, errs, want)
				}
			})
		}
	}
}

func TestDemoExplainsTheCallsInTheOrderOfTheLesson(t *testing.T) {
	for _, backend := range mux.Backends() {
		t.Run(backend, func(t *testing.T) {
			inLab(t, true)
			out, errs, code := runEcho("demo", "--explain", "--backend", backend)
			if errs != "" || code != 0 {
				t.Fatalf("exit code %d\n%s", code, errs)
			}
			for side, want := range map[string]string{
				// The server may be told to stop before it waits once more.
				"server": "^socket create add wait receive send (wait )?remove close close$",
				// It looks whether the answer is there before it waits.
				"client": "^socket create add send receive (wait receive )?remove close close$",
			} {
				if got := steps(out, side); !regexp.MustCompile(want).MatchString(got) {
					t.Errorf("the %s takes the steps %s, want %s:\n%s", side, got, want, out)
				}
			}
			mustContain(t, "explanation", out, "Received ICMP message:", "# A raw ICMP socket")
			for _, purpose := range purposes {
				if strings.Count(out, purpose) > 1 {
					t.Errorf("%q is explained more than once", purpose)
				}
			}
		})
	}
}

// steps returns the steps of one side, without the wakes: whether one is needed
// depends on which of two goroutines is faster.
func steps(out, side string) string {
	var all []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) > 2 && f[0] == side && f[1] != "wake" {
			all = append(all, f[1])
		}
	}
	return strings.Join(all, " ")
}

func TestDemoRefusesACountOfNothing(t *testing.T) {
	_, errs, code := runEcho("demo", "--count", "0")
	if code != exitError || !strings.Contains(errs, "--count 0") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}
