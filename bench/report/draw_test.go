package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
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
		d := r.draw(p)
		if d == nil || d.series == nil || d.left != nil {
			t.Fatalf("%s: %+v; the results are to have something for every picture, and nothing that is left out", p.name, d)
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
	units := []string{"µs", "ns", "MB", "second", "% of"}
	for i, d := range drawings(t) {
		texts := map[string]bool{}
		all, _ := written(t, d)
		for _, w := range all {
			texts[w.text] = true
		}
		want := append([]string{d.title, d.x.label}, d.places...)
		values := d.x.label
		if !d.rows {
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
			if reflect.DeepEqual(a.dashes, b.dashes) || reflect.DeepEqual(a.shape, b.shape) || a.color == b.color {
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
		d.series[1].points = append(d.series[1].points, point{9, quantity{2, 2, 2, 3, true}}) // which agree
		_, paper := written(t, d)
		strokes, _, dashed := shapes(paper, styles[1])
		if dashed != 2 || strokes != 2+5+want {
			t.Errorf("%d spreads: %d strokes, %d of them dashed; want %d and 2", spread, strokes, dashed, 2+5+want)
		}
	}
}

// The first style is a full circle.
func TestMarkersAreBesideTheLabelsOfTheirRows(t *testing.T) {
	d := &drawing{title: "t", x: axis{"µs", false}, rows: true, places: []string{"first", "second", "third"},
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
	for i, row := range d.places {
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

// The paper is white wherever a picture is shown, on a dark page as well.
func TestPicturesBringTheirPaper(t *testing.T) {
	for _, d := range drawings(t) {
		_, s := written(t, d)
		first := slices.IndexFunc(s.Actions, func(a recorder.Action) bool { _, ok := a.(*recorder.Fill); return ok })
		paper := s.Actions[first].(*recorder.Fill).Path
		if c, ok := s.Actions[first-1].(*recorder.SetColor); !ok || c.Color != color.White {
			t.Errorf("%s: the first colour is %v; want white", d.title, s.Actions[first-1])
		}
		if corner := (vg.Point{X: s.w, Y: s.h}); !slices.ContainsFunc(paper, func(c vg.PathComp) bool { return c.Pos == corner }) {
			t.Errorf("%s: the first thing that is filled is %v; want all, to %v", d.title, paper, corner)
		}
	}
}

// Values that are the same would hide each other in a row.
func TestValuesOfOneRowAreBesideEachOther(t *testing.T) {
	d := &drawing{title: "t", x: axis{"µs", false}, rows: true, places: []string{"a", "b", "c", "d", "e", "f"}}
	for i := range 4 {
		d.series = append(d.series, line(fmt.Sprint(i), 0, 5))
	}
	d.series[0] = line("0", 0, 5, 1, 5)
	if got := d.crowds(); !slices.Equal(got, []int{4, 1, 0, 0, 0, 0}) {
		t.Errorf("crowds %v; want 4, 1 and none", got)
	}
	_, s := written(t, d)
	if one := (&drawing{rows: true, places: d.places, series: d.series[:1]}).height(); s.h <= one {
		t.Errorf("%v high; want more than %v, with one value in each row", s.h, one)
	}
	var circles, triangles []vg.Length // the heights of the first and of the third series
	for _, a := range s.Actions {
		if f, ok := a.(*recorder.Fill); !ok {
			continue
		} else if len(f.Path) == 3 && f.Path[1].Type == vg.ArcComp {
			circles = append(circles, f.Path[1].Pos.Y)
		} else if len(f.Path) == 4 {
			triangles = append(triangles, (f.Path[0].Pos.Y+f.Path[1].Pos.Y)/2)
		}
	}
	if len(circles) != 3 || len(triangles) != 2 || circles[0]-triangles[0] < 5 {
		t.Errorf("circles at %v, triangles at %v; want the first of each apart", circles, triangles)
	}
	for crowd := 1; crowd <= len(styles); crowd++ {
		for taken := range crowd {
			at, opposite := aside(taken, crowd, true), aside(crowd-1-taken, crowd, true)
			if at < -0.45 || at > 0.45 || math.Abs(at+opposite) > 1e-9 || taken > 0 && at-aside(taken-1, crowd, true) < 0.05 {
				t.Errorf("%d of %d in a row is %v from its middle, and the opposite one %v", taken, crowd, at, opposite)
			}
		}
	}
}

// Every style, long names and as many rows as there may be: all is still on the paper.
func TestTheMostThatAPictureHasFits(t *testing.T) {
	long := strings.Repeat("abcdefghij", 10)
	rows := &drawing{title: "t", x: axis{"µs", true}, rows: true}
	lines := &drawing{title: "t", x: axis{"n", true}, y: axis{"µs", true}}
	columns := &drawing{title: "t", x: axis{"n", false}, y: axis{"µs", true}, places: []string{"median", "99th"}}
	for i := range mostPlaces {
		rows.places = append(rows.places, fmt.Sprint(i, long))
	}
	for i := range styles {
		rows.series = append(rows.series, line(fmt.Sprint(i, long), float64(i), 5))
		lines.series = append(lines.series, line(fmt.Sprint(i, "name"), 1, 5, 9, 50))
		columns.series = append(columns.series, line(fmt.Sprint(i, "name"), 0, 5, 1, 50))
	}
	single := &drawing{title: "t", x: axis{"µs", true}, rows: true, places: []string{"all"}}
	for i := range styles {
		single.series = append(single.series, line(fmt.Sprint(i, "name"), 0, 5))
	}
	for _, d := range []*drawing{rows, lines, columns, single} {
		all, s := written(t, d)
		for _, wrong := range overlaps(all, s) {
			t.Error(wrong)
		}
		lowest := s.h
		for _, w := range all {
			if len(w.text) > 90 {
				t.Errorf("%q is written", w.text)
			}
			if w.text == shown(d.series[len(d.series)-1].name) {
				lowest = w.Min.Y
			}
		}
		if lowest < 0 || lowest == s.h {
			t.Errorf("the last series in the legend is at %v", lowest)
		}
		if _, err := d.svg(); err != nil {
			t.Error(err)
		}
	}
}

// A browser without the font takes another, whose letters are wider.
func TestThereIsRoomForWiderFonts(t *testing.T) {
	const wider = 1.1
	for _, d := range drawings(t) {
		all, s := written(t, d)
		for _, series := range d.series {
			for _, w := range all {
				if right := w.Min.X + (w.Max.X-w.Min.X)*wider; w.text == shown(series.name) && right > s.w {
					t.Errorf("%s: %q would end at %v of %v", d.title, w.text, right, s.w)
				}
			}
		}
	}
}

func TestMarkersAreFilledOrHideWhatIsBelow(t *testing.T) {
	for _, filled := range []bool{true, false} {
		s := &sheet{w: 100, h: 100}
		c := draw.New(s)
		corners{diamond, filled}.DrawGlyph(&c, draw.GlyphStyle{Color: color.Black, Radius: 4}, vg.Point{X: 50, Y: 50})
		strokes, fills, _ := shapes(s, style{color: color.Black})
		_, hidden, _ := shapes(s, style{color: color.White})
		if filled && (strokes != 0 || hidden != 0) || !filled && (strokes != 1 || fills != 0 || hidden != 1) {
			t.Errorf("filled: %v: %d strokes, %d fills, %d white", filled, strokes, fills, hidden)
		}
	}
}
