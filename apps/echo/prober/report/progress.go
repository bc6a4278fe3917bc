package report

import (
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress is a bar on a terminal that shows how far a sweep is, how fast it goes and
// how long it takes yet:
//
//	50% |##########          | 131072/262144, 98304/s, 2s left
//
//	bar := report.NewProgress(os.Stderr, width, nil)
//	out := report.NewList(bar.Over(os.Stdout), report.Options{FlushLines: true})
//	cfg.OnResult = func(r *prober.Result) {
//		bar.Update(total.Finished(), targets.Len())
//		out.Result(r)
//	}
//	...
//	bar.Clear()
//
// It has the last line of the terminal while nothing else is written, and keeps one
// column free, so that a terminal does not wrap it. Errors of the terminal are
// ignored: the bar is not what a run is for.
type Progress struct {
	w     io.Writer
	width func() int
	now   func() time.Time

	shown   bool      // it is on the line
	started bool      // Update has been called
	began   time.Time // when it was drawn first
	drawn   time.Time // when it last was
	done    uint64    // at that time
	rate    float64   // per second, over the last few seconds
}

const (
	redraw    = 100 * time.Millisecond // the shortest time between two bars
	smoothing = 5 * time.Second        // over which the rate is averaged
	wipe      = "\r\x1b[K"             // to the beginning of the line; erase it (ECMA-48, 8.3.41)
)

// NewProgress returns a bar for a terminal. width returns that of the terminal in
// columns and is asked each time, as it may change; with nil, or if it returns 0 or
// less, it is 80. now replaces time.Now if it is not nil.
func NewProgress(w io.Writer, width func() int, now func() time.Time) *Progress {
	if now == nil {
		now = time.Now
	}
	return &Progress{w: w, width: width, now: now}
}

// Update says that so many of all are done. It draws the bar if the last one is 100
// ms old. It costs little more than reading the clock otherwise.
func (p *Progress) Update(done, all uint64) {
	now := p.now()
	since := now.Sub(p.drawn)
	if p.started && since < redraw && since >= 0 {
		return
	}
	if p.started && since > 0 {
		recent := float64(done-min(p.done, done)) / since.Seconds()
		if p.rate == 0 {
			p.rate = recent
		} else {
			// In the beginning it is the mean since then.
			weight := max(1-math.Exp(-since.Seconds()/smoothing.Seconds()), since.Seconds()/now.Sub(p.began).Seconds())
			p.rate += (recent - p.rate) * weight
		}
	}
	if !p.started {
		p.began = now
	}
	p.started, p.drawn, p.done = true, now, done
	p.shown = true
	io.WriteString(p.w, wipe+p.line(min(done, all), all))
}

// line returns the bar, not wider than the terminal.
func (p *Progress) line(done, all uint64) string {
	text := strconv.FormatUint(done, 10) + "/" + strconv.FormatUint(all, 10)
	if p.rate > 0 {
		text += ", " + strconv.FormatFloat(p.rate, 'f', 0, 64) + "/s"
		left := float64(all-done) / p.rate
		if left < math.MaxInt64/float64(time.Second) {
			text += ", " + time.Duration(math.Ceil(left)*float64(time.Second)).String() + " left"
		}
	}
	columns := 80
	if p.width != nil {
		if n := p.width(); n > 0 {
			columns = n
		}
	}
	const percent = len("100% || ")
	room := min(columns-1-percent-len(text), 40)
	line := text
	if room >= 5 {
		bar := progressbar.NewOptions64(int64(max(min(all, math.MaxInt64), 1)), progressbar.OptionSetWriter(io.Discard),
			progressbar.OptionSetWidth(room), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "#", SaucerPadding: " ", BarStart: "|", BarEnd: "|"}))
		bar.Set64(int64(min(done, math.MaxInt64)))
		bar.Describe("") // which draws in any case
		line = strings.Trim(bar.String(), "\r ") + " " + text
	}
	return line[:min(len(line), columns-1)]
}

// Clear takes the bar off the line, until the next Update draws it again.
func (p *Progress) Clear() {
	if p.shown {
		p.shown = false
		io.WriteString(p.w, wipe)
	}
}

// Over returns a Writer for what is written on the same terminal: the bar makes way
// for it.
func (p *Progress) Over(w io.Writer) io.Writer { return &over{p, w} }

type over struct {
	p *Progress
	w io.Writer
}

func (o *over) Write(b []byte) (int, error) {
	o.p.Clear()
	return o.w.Write(b)
}
