package report

import (
	"strings"
	"testing"
	"time"
)

// terminal is a fake one: it applies what is written to its last line.
type terminal struct {
	writes  int
	history []string // complete lines
	line    string   // with the cursor at its end
	widest  int
}

func (f *terminal) Write(p []byte) (int, error) {
	f.writes++
	s := string(p)
	for s != "" {
		switch {
		case strings.HasPrefix(s, "\r\x1b[K"):
			f.line, s = "", s[len("\r\x1b[K"):]
		case s[0] == '\n':
			f.history, f.line, s = append(f.history, f.line), "", s[1:]
		default:
			f.line, s = f.line+s[:1], s[1:]
		}
	}
	f.widest = max(f.widest, len(f.line))
	return len(p), nil
}

// watch is a clock that is set by hand.
type watch struct{ t time.Time }

func (w *watch) now() time.Time { return w.t }

func newProgress(width int) (*Progress, *terminal, *watch, *int) {
	f, c := new(terminal), &watch{noon()}
	return NewProgress(f, func() int { return width }, c.now), f, c, &width
}

func TestProgress(t *testing.T) {
	p, f, c, _ := newProgress(80)
	for _, step := range []struct {
		after time.Duration
		done  uint64
		want  string
	}{
		{0, 0, "0% |                                        | 0/1000"},
		{time.Second, 250, "25% |##########                              | 250/1000, 250/s, 3s left"},
		{time.Second, 500, "50% |####################                    | 500/1000, 250/s, 2s left"},
		{time.Second, 500, "50% |####################                    | 500/1000, 167/s, 3s left"},
		{time.Second, 1000, "100% |########################################| 1000/1000, 250/s, 0s left"},
		{time.Second, 1200, "100% |########################################| 1000/1000, 240/s, 0s left"},
	} {
		c.t = c.t.Add(step.after)
		p.Update(step.done, 1000)
		if f.line != step.want {
			t.Errorf("%d done:\n%s, want\n%s", step.done, f.line, step.want)
		}
	}
	p.Clear()
	if f.line != "" || f.history != nil {
		t.Errorf("after Clear the terminal has %q, %q", f.history, f.line)
	}
}

func TestProgressIsRedrawnTenTimesASecond(t *testing.T) {
	p, f, c, _ := newProgress(80)
	for i := range uint64(3001) { // three seconds
		p.Update(i, 1<<20)
		p.Update(i, 1<<20)
		c.t = c.t.Add(time.Millisecond)
	}
	if f.writes != 31 {
		t.Errorf("%d bars in three seconds, want 31", f.writes)
	}
	if n := testing.AllocsPerRun(100, func() { p.Update(5, 1<<20) }); n > 0 {
		t.Errorf("%v allocations where there is nothing to draw", n)
	}
}

// A clock that is set back does not stop the bar.
func TestProgressWhenTheClockIsSetBack(t *testing.T) {
	p, f, c, _ := newProgress(80)
	p.Update(1, 10)
	c.t = c.t.Add(-time.Hour)
	p.Update(5, 10)
	if !strings.HasPrefix(f.line, "50%") {
		t.Errorf("%q", f.line)
	}
}

// The bar never wraps: it leaves the last column free, gets shorter, makes way for
// the numbers, and these are cut.
func TestProgressWhenTheTerminalIsResized(t *testing.T) {
	p, f, c, width := newProgress(0)
	for *width = 200; *width > -2; *width-- {
		f.widest = 0
		p.Update(uint64(1000-*width), 1000)
		c.t = c.t.Add(time.Second)
		limit := *width - 1
		if *width <= 0 {
			limit = 79
		}
		if f.widest > limit || f.widest < min(limit, 8) {
			t.Errorf("a terminal of %d columns: %d, %q", *width, f.widest, f.line)
		}
	}
	*width = 80
	p.Update(1000, 1000)
	if !strings.HasPrefix(f.line, "100% |######") {
		t.Errorf("wide again: %q", f.line)
	}
	if f.history != nil {
		t.Errorf("lines remain: %q", f.history)
	}
}

func TestProgressMakesWayForOutput(t *testing.T) {
	p, f, c, _ := newProgress(80)
	out := NewList(p.Over(f), Options{FlushLines: true})
	out.Begin(&Run{Count: 1})
	r := reply(1, 35*micro)
	for i := range uint64(3) {
		p.Update(i, 3)
		if !strings.Contains(f.line, "/3") {
			t.Errorf("there is no bar, but %q", f.line)
		}
		out.Result(&r)
		if f.line != "" {
			t.Errorf("the bar is still there: %q", f.line)
		}
		c.t = c.t.Add(time.Second)
	}
	if want := strings.Repeat("192.0.2.1 is alive (0.035 ms)|", 3); strings.Join(f.history, "|")+"|" != want {
		t.Errorf("%q", f.history)
	}
	writes := f.writes
	p.Clear()
	if f.writes != writes {
		t.Error("Clear erases a line that is not the bar's")
	}
}

func TestProgressOfNothing(t *testing.T) {
	p, f, c, _ := newProgress(80)
	for _, all := range []uint64{0, 1<<64 - 1} {
		p.Update(0, all)
		c.t = c.t.Add(time.Second)
		p.Update(1, all)
		c.t = c.t.Add(time.Second)
		if !strings.HasPrefix(f.line, "0% |") {
			t.Errorf("%d: %q", all, f.line)
		}
	}
	NewProgress(f, nil, nil).Update(1, 2)
	if !strings.HasPrefix(f.line, "50% |") {
		t.Errorf("with the defaults: %q", f.line)
	}
}
