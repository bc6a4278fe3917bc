package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// style of a series differs from every other in marker and dashes; colours come on top.
type style struct {
	color  color.Color
	dashes []vg.Length
	shape  draw.GlyphDrawer
}

// The colours are Okabe's and Ito's, for those who confuse some, and darker ones.
var styles = []style{
	{color.RGBA{0, 0, 0, 255}, nil, draw.CircleGlyph{}},
	{color.RGBA{0, 114, 178, 255}, []vg.Length{7, 3}, corners{square, false}},
	{color.RGBA{213, 94, 0, 255}, []vg.Length{2, 2}, corners{triangle, true}},
	{color.RGBA{0, 120, 90, 255}, []vg.Length{9, 3, 2, 3}, corners{diamond, false}},
	{color.RGBA{150, 60, 120, 255}, []vg.Length{12, 4}, corners{tip, true}},
	{color.RGBA{90, 90, 90, 255}, []vg.Length{9, 2, 2, 2, 2, 2}, corners{triangle, false}},
	{color.RGBA{0, 60, 110, 255}, []vg.Length{4, 4}, corners{square, true}},
	{color.RGBA{170, 110, 0, 255}, []vg.Length{1, 3}, corners{tip, false}},
	{color.RGBA{0, 90, 60, 255}, []vg.Length{16, 2, 2, 2}, corners{diamond, true}},
	{color.RGBA{190, 50, 50, 255}, []vg.Length{5, 2, 1, 2}, corners{bar, true}},
	{color.RGBA{70, 50, 140, 255}, []vg.Length{16, 6}, corners{bar, false}},
	{color.RGBA{40, 40, 40, 255}, []vg.Length{3, 1}, corners{star, true}},
}

// Corners of markers, from the middle.
var (
	square   = []vg.Point{{X: -1, Y: 1}, {X: 1, Y: 1}, {X: 1, Y: -1}, {X: -1, Y: -1}}
	diamond  = []vg.Point{{X: 0, Y: 1.4}, {X: 1.4, Y: 0}, {X: 0, Y: -1.4}, {X: -1.4, Y: 0}}
	triangle = []vg.Point{{X: -1.2, Y: -1}, {X: 0, Y: 1.3}, {X: 1.2, Y: -1}}
	tip      = []vg.Point{{X: -1.2, Y: 1}, {X: 0, Y: -1.3}, {X: 1.2, Y: 1}}
	bar      = []vg.Point{{X: -1.5, Y: 0.5}, {X: 1.5, Y: 0.5}, {X: 1.5, Y: -0.5}, {X: -1.5, Y: -0.5}}
	star     = []vg.Point{{X: 0, Y: 1.6}, {X: 0.4, Y: 0.4}, {X: 1.6, Y: 0}, {X: 0.4, Y: -0.4}, {X: 0, Y: -1.6}, {X: -0.4, Y: -0.4}, {X: -1.6, Y: 0}, {X: -0.4, Y: 0.4}}
)

// corners are a marker that hides the line below it. Those of gonum are thin.
type corners struct {
	at     []vg.Point
	filled bool
}

func (m corners) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, middle vg.Point) {
	const width = 1.1
	size := sty.Radius - width/2
	var path vg.Path
	path.Move(middle.Add(m.at[0].Scale(size)))
	for _, corner := range m.at[1:] {
		path.Line(middle.Add(corner.Scale(size)))
	}
	path.Close()
	if m.filled {
		c.Fill(path)
		return
	}
	c.SetColor(color.White)
	c.Fill(path)
	c.SetLineStyle(draw.LineStyle{Color: sty.Color, Width: width})
	c.Stroke(path)
}

const (
	pictureWidth = 17 * vg.Centimeter
	lineHeight   = 9 * vg.Centimeter
	rowHeight    = 0.75 * vg.Centimeter
	legendHeight = 0.65 * vg.Centimeter // of a series
	margin       = vg.Length(6)
	gap          = vg.Length(14) // between the plot and the legend
	otherFonts   = 1.12          // times as wide as Liberation Sans is what a browser may take instead
)

// height of a picture of rows grows with them, with the values in a row and the legend.
func (d *drawing) height() vg.Length {
	if !d.rows {
		return lineHeight
	}
	crowd := max(1, 0.45*vg.Length(slices.Max(d.crowds())))
	return max(2.6*vg.Centimeter+vg.Length(len(d.places))*rowHeight*crowd, vg.Length(len(d.series)+3)*legendHeight)
}

// crowds has the number of values at each place.
func (d *drawing) crowds() []int {
	if d.places == nil {
		return nil
	}
	crowds := make([]int, len(d.places))
	for _, s := range d.series {
		for _, pt := range s.points {
			crowds[int(pt.at)]++
		}
	}
	return crowds
}

// aside is how far a value is drawn from the middle of its place, so that those which
// share one do not hide each other: taken is how many are there already. Rows have more
// room than lines, whose slope it changes.
func aside(taken, crowd int, row bool) float64 {
	step := 0.06
	if row {
		step = min(0.22, 0.75/float64(crowd))
	}
	return (float64(taken) - float64(crowd-1)/2) * step
}

// paint draws on a canvas of any kind.
func (d *drawing) paint(canvas vg.CanvasSizer) error {
	p := plot.New()
	legend := plot.NewLegend()
	setFonts(p, &legend)
	p.Title.Text = d.title
	p.Title.Padding = 8
	legend.Left, legend.Top, legend.ThumbnailWidth, legend.Padding = true, true, 36, 5

	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{220}, color.Gray{220}
	if d.rows {
		grid.Horizontal.Dashes = []vg.Length{1, 2}
	}
	p.Add(grid)
	taken, crowds := make([]int, len(d.places)), d.crowds()
	for i, s := range d.series {
		s.points = slices.Clone(s.points)
		for k, pt := range s.points {
			if d.places != nil {
				at := int(pt.at)
				s.points[k].at += aside(taken[at], crowds[at], d.rows)
				taken[at]++
			}
		}
		if err := d.add(p, &legend, s, styles[i]); err != nil {
			return err
		}
	}
	if len(d.crossings) > 0 {
		if err := addRings(p, &legend, d.crossings); err != nil {
			return err
		}
	}
	d.setAxes(p)

	c := draw.New(canvas)
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	inner := draw.Crop(c, margin, -margin, margin, -margin)
	width := legend.Rectangle(inner).Size().X * otherFonts
	p.Draw(draw.Crop(inner, 0, -width-gap, 0, 0))
	below := p.Title.TextStyle.Height(p.Title.Text) + 2*p.Title.Padding
	legend.Draw(draw.Crop(inner, inner.Size().X-width, 0, 0, -below))
	return nil
}

func setFonts(p *plot.Plot, legend *plot.Legend) {
	sans := func(size vg.Length) font.Font {
		return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	}
	p.Title.TextStyle.Font = sans(12)
	p.X.Label.TextStyle.Font, p.Y.Label.TextStyle.Font = sans(10), sans(10)
	p.X.Tick.Label.Font, p.Y.Tick.Label.Font = sans(9), sans(9)
	legend.TextStyle.Font = sans(10)
}

// add draws a series: its line, its markers, and whiskers from the 10th to the 90th
// percentile.
func (d *drawing) add(p *plot.Plot, legend *plot.Legend, s series, look style) error {
	var at, known plotter.XYs // known are those that have a spread
	var spread []struct{ Low, High float64 }
	for _, pt := range s.points {
		xy := plotter.XY{X: pt.at, Y: pt.median}
		if d.rows {
			xy = plotter.XY{X: pt.median, Y: float64(len(d.places)-1) - pt.at}
		}
		at = append(at, xy)
		if pt.spread && pt.low < pt.high {
			known = append(known, xy)
			spread = append(spread, struct{ Low, High float64 }{pt.median - pt.low, pt.high - pt.median})
		}
	}
	ink := draw.LineStyle{Color: look.color, Width: 1.2, Dashes: look.dashes}
	whisker := draw.LineStyle{Color: look.color, Width: 0.8}
	marks, err := plotter.NewScatter(at)
	if err != nil {
		return err
	}
	marks.GlyphStyle = draw.GlyphStyle{Color: look.color, Radius: 3.4, Shape: look.shape}
	thumbnails := []plot.Thumbnailer{marks}
	if !d.rows {
		line, err := plotter.NewLine(at)
		if err != nil {
			return err
		}
		line.LineStyle = ink
		p.Add(line)
		thumbnails = append(thumbnails, line)
	}
	p.Add(marks)
	legend.Add(shown(s.name), thumbnails...)
	if known == nil {
		return nil
	}
	if d.rows {
		bars, err := plotter.NewXErrorBars(struct {
			plotter.XYs
			plotter.XErrors
		}{known, spread})
		if err != nil {
			return err
		}
		bars.LineStyle, bars.CapWidth = whisker, 7
		p.Add(bars)
		return nil
	}
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{known, spread})
	if err != nil {
		return err
	}
	bars.LineStyle, bars.CapWidth = whisker, 7
	p.Add(bars)
	return nil
}

func addRings(p *plot.Plot, legend *plot.Legend, all []crossing) error {
	var at plotter.XYs
	for _, c := range all {
		at = append(at, plotter.XY{X: c.at, Y: c.value})
	}
	rings, err := plotter.NewScatter(at)
	if err != nil {
		return err
	}
	rings.GlyphStyle = draw.GlyphStyle{Color: color.Black, Radius: 5.5, Shape: draw.RingGlyph{}}
	p.Add(rings)
	legend.Add("crossing", rings)
	return nil
}

// setAxes goes by all the values, whiskers included.
func (d *drawing) setAxes(p *plot.Plot) {
	var at, values []float64
	for _, s := range d.series {
		for _, pt := range s.points {
			at, values = append(at, pt.at), append(values, pt.low, pt.high)
		}
	}
	var labels []string
	for _, place := range d.places {
		labels = append(labels, shown(place))
	}
	last := float64(len(labels)) - 1
	switch {
	case d.rows:
		setAxis(&p.X, d.x, values)
		slices.Reverse(labels)
		p.NominalY(labels...)
		p.Y.Min, p.Y.Max = -0.5, last+0.5
		p.Y.Padding = 16 // for wider fonts
	case labels != nil:
		setAxis(&p.Y, d.y, values)
		p.NominalX(labels...)
		p.X.Label.Text, p.X.Label.Padding = d.x.label, 4
		p.X.Width, p.Y.Padding = p.Y.Width, 0
		p.X.Min, p.X.Max = -0.5, last+0.5
	default:
		setAxis(&p.X, d.x, at)
		setAxis(&p.Y, d.y, values)
	}
}

func setAxis(a *plot.Axis, is axis, values []float64) {
	a.Label.Text = is.label
	a.Label.Padding = 4
	a.Padding = 0
	lowest, highest := slices.Min(values), slices.Max(values)
	var ticks []plot.Tick
	if is.log {
		a.Scale = plot.LogScale{}
		ticks = logTicks(lowest, highest)
	} else {
		ticks = linearTicks(highest)
	}
	a.Min, a.Max = ticks[0].Value, ticks[len(ticks)-1].Value
	a.Tick.Marker = plot.ConstantTicks(ticks)
}

// logTicks begins and ends with one of 1, 2 and 5 times a power of ten, and has all of
// these between. There are more on a short axis, and on a long one only the powers have
// labels.
func logTicks(lowest, highest float64) []plot.Tick {
	ticks := ticksAt([]int{1, 2, 5}, lowest, highest)
	if len(ticks) < 5 {
		return ticksAt([]int{10, 15, 20, 30, 40, 50, 70}, lowest, highest)
	}
	return ticks
}

// ticksAt has these numbers times powers of ten.
func ticksAt(steps []int, lowest, highest float64) []plot.Tick {
	const room = 1.05 // for what is at the end
	var all []float64
	for power := -18; power < 18; power++ {
		for _, s := range steps {
			v, _ := strconv.ParseFloat(fmt.Sprintf("%de%d", s, power), 64) // exactly what it is called
			all = append(all, v)
		}
	}
	first, _ := slices.BinarySearch(all, lowest/room)
	last, _ := slices.BinarySearch(all, highest*room)
	first, last = max(first-1, 0), min(last, len(all)-1)
	var ticks []plot.Tick
	for i, v := range all[first : last+1] {
		t := plot.Tick{Value: v}
		if last-first < 9 || (first+i)%len(steps) == 0 {
			t.Label = grouped(strconv.FormatFloat(v, 'f', -1, 64))
		}
		ticks = append(ticks, t)
	}
	return ticks
}

// linearTicks begins at zero.
func linearTicks(highest float64) []plot.Tick {
	step := 1.0
	if highest > 0 {
		step = math.Pow10(int(math.Floor(math.Log10(highest))) - 1)
	}
	for _, f := range []float64{2, 2.5, 2, 2, 2.5, 2} {
		if highest/step > 7 {
			step *= f
		}
	}
	decimals := max(0, int(math.Ceil(-math.Log10(step))))
	var ticks []plot.Tick
	for i := 0; ; i++ {
		v := float64(i) * step
		label := "0"
		if i > 0 {
			label = grouped(strconv.FormatFloat(v, 'f', decimals, 64))
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: label})
		if v >= highest*1.02 && i > 0 {
			return ticks
		}
	}
}

// svg is a file of its own. A browser without the font takes one with the same widths.
func (d *drawing) svg() (string, error) {
	canvas := vgsvg.New(pictureWidth, d.height())
	if err := d.paint(canvas); err != nil {
		return "", err
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	return strings.ReplaceAll(b.String(), "font-family:Liberation Sans;", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif;"), nil
}
