package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/recorder"
)

// sheet records what is painted.
type sheet struct {
	recorder.Canvas
	w, h vg.Length
}

func (s *sheet) Size() (w, h vg.Length) { return s.w, s.h }

// transform is a place and a turn; nothing here is scaled.
type transform struct {
	at     vg.Point
	turned bool // a quarter to the left
}

func (t transform) point(p vg.Point) vg.Point {
	if t.turned {
		p = vg.Point{X: -p.Y, Y: p.X}
	}
	return t.at.Add(p)
}

// writing is a text and the room that it takes.
type writing struct {
	text string
	vg.Rectangle
}

// written returns the texts of a drawing, and its paper.
func written(t *testing.T, d *drawing) (all []writing, s *sheet) {
	t.Helper()
	s = &sheet{w: pictureWidth, h: d.height()}
	if err := d.paint(s); err != nil {
		t.Fatal(err)
	}
	fonts := font.NewCache(liberation.Collection())
	stack := []transform{{}}
	for _, a := range s.Actions {
		top := &stack[len(stack)-1]
		switch a := a.(type) {
		case *recorder.Push:
			stack = append(stack, *top)
		case *recorder.Pop:
			stack = stack[:len(stack)-1]
		case *recorder.Translate:
			top.at = top.point(a.Point)
		case *recorder.Rotate:
			if top.turned || a.Angle < 1.57 || a.Angle > 1.58 {
				t.Fatalf("a turn by %v; this test knows one by a quarter", a.Angle)
			}
			top.turned = true
		case *recorder.Scale:
			t.Fatal("this test does not know scaling")
		case *recorder.FillString:
			face := fonts.Lookup(a.Font, a.Size)
			e := face.Extents()
			p := top.point(a.Point.Add(vg.Point{Y: -e.Descent}))
			q := top.point(a.Point.Add(vg.Point{X: face.Width(a.String), Y: e.Ascent}))
			all = append(all, writing{a.String, vg.Rectangle{
				Min: vg.Point{X: min(p.X, q.X), Y: min(p.Y, q.Y)}, Max: vg.Point{X: max(p.X, q.X), Y: max(p.Y, q.Y)}}})
		}
	}
	return all, s
}

// overlaps returns what is written over something else or beyond the edge.
func overlaps(all []writing, s *sheet) (wrong []string) {
	for i, a := range all {
		if a.Min.X < 0 || a.Min.Y < 0 || a.Max.X > s.w || a.Max.Y > s.h {
			wrong = append(wrong, fmt.Sprintf("%q is beyond the edge: %v", a.text, a.Rectangle))
		}
		for _, b := range all[i+1:] {
			if a.Min.X < b.Max.X && b.Min.X < a.Max.X && a.Min.Y < b.Max.Y && b.Min.Y < a.Max.Y {
				wrong = append(wrong, fmt.Sprintf("%q is over %q: %v, %v", a.text, b.text, a.Rectangle, b.Rectangle))
			}
		}
	}
	return wrong
}

// strikes returns the texts that a line goes through. The room of a text is higher than
// its letters.
func strikes(all []writing, s *sheet) (wrong []string) {
	for _, a := range s.Actions {
		stroke, ok := a.(*recorder.Stroke)
		if !ok {
			continue
		}
		for i, c := range stroke.Path {
			if c.Type != vg.LineComp {
				continue
			}
			from := stroke.Path[i-1].Pos
			for _, w := range all {
				const steps, room = 200, 2
				for k := range steps + 1 {
					p := from.Add(c.Pos.Sub(from).Scale(vg.Length(k) / steps))
					if p.X > w.Min.X+room && p.X < w.Max.X-room && p.Y > w.Min.Y+room && p.Y < w.Max.Y-room {
						wrong = append(wrong, fmt.Sprintf("a line from %v to %v goes through %q", from, c.Pos, w.text))
						break
					}
				}
			}
		}
	}
	return wrong
}

func drawings(t *testing.T) []*drawing {
	t.Helper()
	r, err := readAll([]string{"testdata/results.txt"})
	if err != nil {
		t.Fatal(err)
	}
	var all []*drawing
	for _, p := range pictures {
		d, err := r.draw(p)
		if err != nil || d == nil {
			t.Fatalf("%s: %v, %v; the results are to have something for every picture", p.name, d, err)
		}
		all = append(all, d)
	}
	return all
}

func TestNoTextIsOverAnother(t *testing.T) {
	for _, d := range drawings(t) {
		all, s := written(t, d)
		for _, wrong := range append(overlaps(all, s), strikes(all, s)...) {
			t.Errorf("%s: %s", d.title, wrong)
		}
	}
}

// A test that sees no overlap might see nothing at all.
func TestOverlapsAreSeen(t *testing.T) {
	d := drawings(t)[0]
	d.y.label = strings.Repeat("µs for each event ", 9)
	if overlaps(written(t, d)) == nil {
		t.Error("no complaint about a label longer than its axis")
	}
	for _, spread := range []vg.Length{0, 9, 11} {
		at := vg.Rectangle{Max: vg.Point{X: 10, Y: 10}}
		over := overlaps([]writing{{"a", at}, {"b", at.Add(vg.Point{X: spread})}}, &sheet{w: 100, h: 100})
		if (over != nil) != (spread < 10) {
			t.Errorf("10 wide and %v apart: %v", spread, over)
		}
	}
}

func TestEveryPictureNamesAxesWithUnitsAndSeries(t *testing.T) {
	units := []string{"µs", "MB", "second", "% of"}
	for i, d := range drawings(t) {
		texts := map[string]bool{}
		all, _ := written(t, d)
		for _, w := range all {
			texts[w.text] = true
		}
		want := append([]string{d.title, d.x.label}, d.rows...)
		values := d.x.label
		if d.rows == nil {
			want, values = append(want, d.y.label), d.y.label
		}
		for _, s := range d.series {
			want = append(want, s.name)
		}
		if d.crossings != nil {
			want = append(want, "crossing")
		}
		for _, text := range want {
			if text == "" || !texts[text] {
				t.Errorf("%s: %q is not written", pictures[i].name, text)
			}
		}
		has := false
		for _, u := range units {
			has = has || strings.Contains(values, u)
		}
		if !has {
			t.Errorf("%s: %q has no unit", pictures[i].name, values)
		}
	}
}

func TestStylesDifferWithoutColours(t *testing.T) {
	for i, a := range styles {
		for _, b := range styles[:i] {
			if reflect.DeepEqual(a.dashes, b.dashes) || reflect.TypeOf(a.shape) == reflect.TypeOf(b.shape) {
				t.Errorf("styles %d: %+v and %+v", i, a, b)
			}
		}
	}
}

// shapes counts what is stroked and filled with a colour.
func shapes(s *sheet, look style) (strokes, fills, dashed int) {
	var same bool
	var dashes []vg.Length
	for _, a := range s.Actions {
		switch a := a.(type) {
		case *recorder.SetColor:
			same = a.Color == look.color
		case *recorder.SetLineDash:
			dashes = a.Dashes
		case *recorder.Stroke:
			if same {
				strokes++
				if len(dashes) > 0 && reflect.DeepEqual(dashes, look.dashes) {
					dashed++
				}
			}
		case *recorder.Fill:
			if same {
				fills++
			}
		}
	}
	return strokes, fills, dashed
}

// The second style is an empty square, a stroke, on a line with dashes; the legend has
// both once more. A whisker is three strokes.
func TestWhiskersAreDrawnWhereASpreadWasMeasured(t *testing.T) {
	for spread, want := range map[int]int{0: 0, 1: 3, 3: 9} {
		s := series{name: "poll"}
		for i := range 3 {
			s.points = append(s.points, point{float64(i + 1), quantity{2, 1, 4, 3, i < spread}})
		}
		d := &drawing{title: "t", x: axis{"x", true}, y: axis{"y", true}, series: []series{line("epoll", 1, 5, 3, 5), s}}
		_, paper := written(t, d)
		strokes, _, dashed := shapes(paper, styles[1])
		if dashed != 2 || strokes != 2+4+want {
			t.Errorf("%d spreads: %d strokes, %d of them dashed; want %d and 2", spread, strokes, dashed, 2+4+want)
		}
	}
}

// The first style is a full circle.
func TestMarkersAreBesideTheLabelsOfTheirRows(t *testing.T) {
	d := &drawing{title: "t", x: axis{"µs", false}, rows: []string{"first", "second", "third"},
		series: []series{line("epoll", 0, 1, 1, 2, 2, 3)}}
	all, s := written(t, d)
	var at []vg.Point
	for _, a := range s.Actions {
		if fill, ok := a.(*recorder.Fill); ok && len(fill.Path) > 1 && fill.Path[1].Type == vg.ArcComp {
			at = append(at, fill.Path[1].Pos)
		}
	}
	if len(at) != 4 {
		t.Fatalf("%d circles; want three and that of the legend", len(at))
	}
	for i, row := range d.rows {
		for _, w := range all {
			if middle := (w.Min.Y + w.Max.Y) / 2; w.text == row && (at[i].Y < middle-3 || at[i].Y > middle+3) {
				t.Errorf("marker %d is at %v; want it beside %s, at %v", i, at[i], row, w.Rectangle)
			}
		}
		if i > 0 && at[i].X <= at[i-1].X {
			t.Errorf("marker %d is at %v, and the one before at %v; want it further right", i, at[i], at[i-1])
		}
	}
}

func TestTicksEncloseTheValues(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		labels    string
	}{
		{1, 10000, "1 10 100 1,000 10,000"},
		{100, 9900, "50 100 200 500 1,000 2,000 5,000 10,000 20,000"},
		{32, 256, "20 50 100 200 500"},
		{0.8, 1.3, "0.7 1 1.5"},
		{8, 13, "7 10 15"},
		{4096, 4096, "3,000 4,000 5,000"},
		{0.003, 0.004, "0.002 0.003 0.004 0.005"},
	} {
		ticks := logTicks(c.low, c.high)
		checkTicks(t, ticks, c.low, c.high)
		if got := labels(ticks); !strings.Contains(" "+got+" ", " "+c.labels+" ") {
			t.Errorf("from %v to %v: %s; want %s", c.low, c.high, got, c.labels)
		}
	}
	for high, want := range map[float64]string{6.2: "0 1 2 3 4 5 6 7", 71: "0 20 40 60 80", 0.05: "0 0.01 0.02 0.03 0.04 0.05 0.06", 12: "0 2 4 6 8 10 12 14", 2400: "0 500 1,000 1,500 2,000 2,500", 0: "0 1"} {
		ticks := linearTicks(high)
		checkTicks(t, ticks, 0, high)
		if got := labels(ticks); got != want {
			t.Errorf("to %v: %s; want %s", high, got, want)
		}
	}
}

func checkTicks(t *testing.T, ticks []plot.Tick, low, high float64) {
	t.Helper()
	if len(ticks) < 2 || ticks[0].Value > low || ticks[len(ticks)-1].Value < high || len(ticks) > 30 {
		t.Errorf("from %v to %v: %v", low, high, ticks)
	}
}

func labels(ticks []plot.Tick) string {
	var s []string
	for _, t := range ticks {
		if t.Label != "" {
			s = append(s, t.Label)
		}
	}
	return strings.Join(s, " ")
}

func TestPicturesAreXMLWithFontsThatBrowsersHave(t *testing.T) {
	for _, d := range drawings(t) {
		svg, err := d.svg()
		if err != nil {
			t.Fatal(err)
		}
		in := xml.NewDecoder(strings.NewReader(svg))
		texts := 0
		for {
			token, err := in.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", d.title, err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "text" {
				texts++
				if style := fmt.Sprint(e.Attr); !strings.Contains(style, "Arial,Helvetica,sans-serif") {
					t.Fatalf("%s: a text in %s", d.title, style)
				}
			}
		}
		if all, _ := written(t, d); texts != len(all) {
			t.Errorf("%s: %d texts; want %d", d.title, texts, len(all))
		}
	}
}
